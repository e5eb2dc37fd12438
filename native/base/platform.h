/* platform.h: the machines and C libraries that we run on, and what a library may lack.
 *
 * The differences between them are here, and beside the one system call or feature that they
 * concern: the program break (os.h), IFUNC relocations (sharded/owner.h), the processor's clock
 * (tools/trace/clock.h). docs/platforms.md says what was run where.
 */
#pragma once

/* Every layout assumes pointers of eight bytes; the mark of a free block and the files that tools
 * write assume that the low half of a word comes first. The #include of a file that does not exist
 * stops the compiler, which would otherwise print a hundred more errors. */
#if !defined __linux__ || __SIZEOF_POINTER__ != 8 ||                                               \
    __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ ||                                                   \
    !(defined __x86_64__ || defined __aarch64__ || defined __riscv)
#error "libmalloc needs 64-bit little-endian Linux: x86-64, aarch64 or riscv64, and this target is none of them"
#include "stop: unsupported target"
#endif

#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* True if this process has never had a second thread. glibc says so since 2.32. The reference is
 * weak, so that our library also loads where the variable does not exist; then this is false. */
extern char libc_single_threaded __asm__("__libc_single_threaded") __attribute__((weak));
static inline bool is_single_threaded(void) {
    return &libc_single_threaded && libc_single_threaded;
}

/* Whether this thread holds a mutex. glibc notes the holder in the mutex; musl does not, so there we
 * note it beside the mutex (holder_set, after locking and before unlocking). */
#ifdef __GLIBC__
__extension__ struct holder {};
static inline void holder_set(struct holder *h, pthread_t thread) { (void)h, (void)thread; }
static inline bool mutex_is_ours(pthread_mutex_t *m, struct holder *h) {
    (void)h;
    return m->__data.__owner == gettid();
}
#else
struct holder {
    pthread_t thread;
};
static inline void holder_set(struct holder *h, pthread_t thread) {
    __atomic_store_n(&h->thread, thread, __ATOMIC_RELAXED);
}
static inline bool mutex_is_ours(pthread_mutex_t *m, struct holder *h) {
    (void)m;
    return __atomic_load_n(&h->thread, __ATOMIC_RELAXED) == pthread_self();
}
#endif

/* Programs may use these wherever our library was built, so older C libraries get them here. */
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

/* Takes `n` from `*from`. Is anything left? Where it is too little, the result wraps around. On x86-64
 * two instructions, a subtraction in memory and the jump on its flags: gcc would make five. */
static inline bool subtract_leaves(uint64_t *from, uint64_t n) {
#ifdef __x86_64__
    bool leaves;
    __asm__("subq %2, %0" : "+m"(*from), "=@cca"(leaves) : "er"(n) : "cc");
    return leaves;
#else
    uint64_t before = *from;
    *from = before - n;
    return before > n;
#endif
}

/* Has `value` none of the bits in `*of`? On x86-64 two instructions, a test of memory and the jump on its
 * flags: gcc would make three. */
static inline bool bits_are_apart(const uintptr_t *of, uintptr_t value) {
#ifdef __x86_64__
    bool apart;
    __asm__("testq %2, %1" : "=@ccz"(apart) : "m"(*of), "r"(value) : "cc");
    return apart;
#else
    return !(*of & value);
#endif
}
