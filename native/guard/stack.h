/* stack.h: the calls that led here, and their names.
 *
 * unwind.h walks the stack, by unwind tables, and by frame pointers where there are none. We
 * remember bare addresses, and check only before we print one that it is a return address.
 *
 * Functions are named by the symbol tables of the mapped files (names.h), source lines by a program
 * that reads debug information (lines.h).
 */
#pragma once

#include <inttypes.h>
#include <stdio.h>

#include "../base/os.h"
#include "../unwind/unload.h"
#include "finding.h"
#include "lines.h"
#include "names.h"
#include "records.h"

/* Stores the return addresses of our callers, without our own functions; NULL behind the last. */
static __attribute__((noinline)) void stack_walk(void *frames[STACK_MOST]) {
    uintptr_t addresses[STACK_MOST];
    unsigned n = guard.stack ? unwind_addresses(unwind_here(), addresses, guard.stack) : 0;
    for (unsigned i = 0; i < n; i++)
        frames[i] = (void *)addresses[i];
    if (n < STACK_MOST)
        frames[n] = NULL;
}

/* ── names ─────────────────────────────────────────────────────────────────── */

/* Does the name of the function that holds this return address begin so? False without a name. */
static bool frame_is(const void *frame, const char *beginning) {
    struct mapping m;
    struct file f = {0};
    uintptr_t start, address;
    if (!frame || !mapping_find((uintptr_t)frame, &m) || m.path[0] != '/' ||
        !(f.bytes = os_map_file(m.path, &f.size)))
        return false;
    const char *name = file_name(f, (uintptr_t)frame - 1 - m.start + m.offset, &address, &start);
    bool is = name && !strncmp(name, beginning, strlen(beginning));
    os_unmap((void *)(uintptr_t)f.bytes, f.size);
    return is;
}

/* Does a call instruction end right before this address? (x86-64: E8 with four bytes, FF /2
 * with none to five.) */
static bool follows_call(const unsigned char *at, const struct mapping *m) {
    if (!m->executable || !m->readable || (uintptr_t)at - m->start < 7)
        return false;
    bool call = at[-5] == 0xe8;
    for (int back = 2; back <= 7; back++)
        call |= at[-back] == 0xff && (at[1 - back] >> 3 & 7) == 2;
    return call;
}

static void line_print(const char *label, const char *name, const char *place, const char *source,
                       const char *more) {
    char line[512];
    int length = snprintf(line, sizeof line, "    %-10s %s%s%s%s%s\n", label, name, place,
                          *source ? " at " : "", source, more);
    if (length >= (int)sizeof line)
        line[(length = sizeof line - 1) - 1] = '\n';
    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0) { /* nothing can be done */
    }
}

/* The functions that were inlined at this address, a line each, innermost first. `*label` is used up.
 * Returns the line that has the address itself. */
static struct source inlined_print(const char **label, const void *frame) {
    struct source s = {"", ""}, outer = s;
    const char *answer = lines_of(frame);
    for (lines_next(&answer, &s); lines_next(&answer, &outer); s = outer) {
        bool echo = !lines.llvm && strcmp(s.function, outer.function) == 0; /* a name of addr2line's */
        line_print(*label, echo || !*s.function ? "a function" : s.function, "", s.place, ", inlined");
        *label = "";
    }
    return s;
}

/* Prints what is known of a return address: `main+0x2d (/tmp/program+0x1166) at program.c:12`.
 * `addr2line -e /tmp/program 0x1166` understands the number. False if it is no return address. */
static bool frame_print(const char *label, const void *frame) {
    struct mapping m;
    char name[160], place[280];
    if (!mapping_find((uintptr_t)frame, &m) || !follows_call(frame, &m))
        return false;
    struct source source = inlined_print(&label, frame);
    struct file f = {0};
    f.bytes = m.path[0] == '/' ? os_map_file(m.path, &f.size) : NULL;
    uintptr_t start = 0, address = (uintptr_t)frame - m.start + m.offset;
    const char *symbol = f.bytes ? file_name(f, address - 1, &address, &start) : NULL;
    if (symbol) /* the program that reads lines may know a readable form of it */
        snprintf(name, sizeof name, "%.120s+0x%zx", *source.function ? source.function : symbol,
                 address - start);
    else if (*source.place && lines.llvm) /* addr2line takes the nearest symbol, which may be wrong */
        snprintf(name, sizeof name, "%s", source.function);
    else
        snprintf(name, sizeof name, "%p", frame);
    snprintf(place, sizeof place, " (%s+0x%zx)", m.path[0] ? m.path : "no file", address);
    line_print(label, name, place, source.place, "");
    if (f.bytes)
        os_unmap((void *)(uintptr_t)f.bytes, f.size);
    return true;
}

/* Prints a stack, the innermost call first, with `label` before it. */
static void stack_print(const char *label, void *const frames[STACK_MOST]) {
    char line[32 + STACK_MOST * 20];
    int length = snprintf(line, sizeof line, "%s", label);
    for (int i = 0; i < STACK_MOST && frames[i]; i++)
        if (frame_print(label, frames[i])) {
            label = "";
            length += snprintf(line + length, sizeof line - (size_t)length, " %" PRIxPTR,
                               (uintptr_t)frames[i]);
        }
    line[length++] = '\n';
    finding_write(line, (size_t)length);
}
