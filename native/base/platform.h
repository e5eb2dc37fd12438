/* platform.h: the machines and C libraries that we run on, and what a library may lack.
 *
 * What differs between them stands here, and beside the one system call or linker feature that it
 * concerns: the program break (os.h), relocations by a function (sharded.c), the processor's own
 * clock (tools/trace/clock.h). docs/platforms.md says what was run where.
 */
#pragma once

/* Pointers of eight bytes are in every layout, and the low half of a word comes first in the mark
 * of a free block and in the files that tools write. The second line is fatal: what would follow is
 * a hundred errors about the same thing. */
#if !defined __linux__ || __SIZEOF_POINTER__ != 8 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libmalloc needs 64-bit little-endian Linux: x86-64, aarch64 or riscv64, and this target is none of them"
#include "stop: unsupported target"
#endif

#define _GNU_SOURCE
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>

/* Has this process had no second thread so far? glibc tells from 2.32 on. The reference is weak, so
 * that a library which was built there loads elsewhere, too; without an answer: perhaps it has. */
extern char libc_single_threaded __asm__("__libc_single_threaded") __attribute__((weak));
static inline bool is_single_threaded(void) {
    return &libc_single_threaded && libc_single_threaded;
}

/* Programs ask for these by name, whatever the library was built against. */
#if !defined __GLIBC__ || __GLIBC__ * 100 + __GLIBC_MINOR__ < 233
struct mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
#endif
#ifndef __GLIBC__
struct mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
enum {
    M_ARENA_MAX = -8,
    M_ARENA_TEST,
    M_PERTURB,
    M_CHECK_ACTION,
    M_MMAP_MAX,
    M_MMAP_THRESHOLD,
    M_TOP_PAD,
    M_TRIM_THRESHOLD,
    M_MXFAST = 1,
};
#endif
