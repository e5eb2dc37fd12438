/* die.h: how we stop. Errors come at two prices: must() is always on, for what a
 * caller's mistake can falsify; assert() is for our own logic, in debug builds.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../heap.h"

/* Prints one line, `libmalloc: free(): double free of 0x7f10 (32 bytes)`. Only
 * write(2) touches the outside; snprintf works on the stack alone. */
static void die_say(const char *call, const char *format, va_list args) {
    char line[256];
    int used = snprintf(line, sizeof line, "libmalloc: %s(): ", call);
    used += vsnprintf(line + used, sizeof line - (size_t)used - 1, format, args);
    size_t length = (size_t)used < sizeof line - 1 ? (size_t)used : sizeof line - 2;
    line[length++] = '\n';
    if (write(STDERR_FILENO, line, length) < 0) { /* nobody listens; abort says it too */
    }
}

/* Says it and aborts. The heap is frozen first: we may hold its lock, and a SIGABRT
 * handler that allocates (crash reporters do) must not wait for it. */
__attribute__((cold, noreturn, noinline, format(printf, 2, 3))) static void
die(const char *call, const char *format, ...) {
    va_list args;
    va_start(args, format);
    die_say(call, format, args);
    va_end(args);
    heap_freeze();
    abort();
}

#define must(condition, call, ...) (likely(condition) ? (void)0 : die(call, __VA_ARGS__))

/* What a block that was freed before is called, by the call that met it. */
UNUSED static const char *freed_twice(const char *call) {
    return strncmp(call, "free", 4) == 0 ? "double free" : "use after free";
}
