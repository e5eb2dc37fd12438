/* die.h: how we stop the program. must() is always compiled in, for what a caller's
 * mistake can make false; assert() is for our own logic, in debug builds only.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../heap.h"

enum { DIE_LINE = 256 };

/* Composes one line, `libmalloc: free(): double free of 0x7f10 (32 bytes)`, and returns
 * its length. snprintf works on the stack alone. */
static size_t die_compose(char line[DIE_LINE], const char *call, const char *format,
                          va_list args) {
    int used = snprintf(line, DIE_LINE, "libmalloc: %s(): ", call);
    used += vsnprintf(line + used, DIE_LINE - (size_t)used - 1, format, args);
    size_t length = (size_t)used < DIE_LINE - 1 ? (size_t)used : DIE_LINE - 2;
    line[length++] = '\n';
    line[length] = '\0';
    return length;
}

/* Makes no call but write(2). */
static void die_print(const char *line, size_t length) {
    if (write(STDERR_FILENO, line, length) < 0) { /* nothing can be done; we abort anyway */
    }
}

/* Every detection, the guard's included, calls this function, so that a debugger can stop
 * here before the line is printed, and read it (native/gdb/stops.py). */
__attribute__((cold, noinline)) static void die_detected(const char *line, size_t length) {
    die_print(line, length);
}

static void locks_freeze(void);

/* Prints the line and aborts. Freezes the heap before, because this thread may hold its
 * lock, and a SIGABRT handler that allocates (crash reporters do) must not wait for it. */
__attribute__((cold, noreturn, noinline, format(printf, 2, 3))) static void
die(const char *call, const char *format, ...) {
    char line[DIE_LINE];
    va_list args;
    va_start(args, format);
    size_t length = die_compose(line, call, format, args);
    va_end(args);
    die_detected(line, length);
    locks_freeze();
    abort();
}

#define must(condition, call, ...) (likely(condition) ? (void)0 : die(call, __VA_ARGS__))

/* The name of the error if `call` gets a block that was freed before. */
UNUSED static const char *freed_twice(const char *call) {
    return strncmp(call, "free", 4) == 0 ? "double free" : "use after free";
}
