/* count.h: calls counted instead of recorded, for `libmalloc run --stats`.
 *
 * Each thread counts in a segment of its own, mapped shared like all of them; what must
 * be known of all threads together (live bytes and their peak) is atomic. A block's size
 * is the malloc's own malloc_usable_size; one that has none gets no live bytes.
 *
 * System calls: a malloc in a separate library calls mmap and its relatives through the
 * dynamic linker, so we can wrap them. A system call during a call of the malloc in the
 * same thread is the malloc's. glibc's malloc calls within libc, where we cannot wrap it:
 * `visible` then says that the counts are unknown. (Syscall user dispatch would see it, and
 * kill a program that had blocked SIGSYS; ptrace would take the debugger's place.)
 */
#pragma once

#include "moments.h"

#include <stdarg.h>

static _Thread_local bool working;

static unsigned class_of(size_t size, uint64_t *limit) {
    if (size <= 1024) {
        unsigned i = (unsigned)((size + 15) / 16);
        *limit = i * 16;
        return i;
    }
    size_t s = size - 1;
    unsigned log = 63 - (unsigned)__builtin_clzll(s);
    unsigned quarter = (unsigned)(s >> (log - 2) & 3);
    *limit = (uint64_t)(5 + quarter) << (log - 2);
    unsigned i = 65 + (log - 10) * 4 + quarter;
    return i < TRACE_CLASSES ? i : TRACE_CLASSES - 1;
}

static inline size_t count_usable(void *p) {
    return p && next.malloc_usable_size ? next.malloc_usable_size(p) : 0;
}

static void count_raise(_Atomic(uint64_t) *most, uint64_t value) {
    uint64_t before = atomic_load_explicit(most, memory_order_relaxed);
    while (before < value && value <= INT64_MAX &&
           !atomic_compare_exchange_weak(most, &before, value)) {
    }
}

static void count_got(struct writer *w, uint64_t op, void *p, size_t size) {
    struct trace_counts *c = w->counts;
    c->calls[op]++;
    if (!p) {
        c->failed[op] += size > 0;
        return;
    }
    size_t usable = count_usable(p);
    uint64_t limit;
    struct trace_class *class = &c->classes[class_of(size, &limit)];
    class->limit = limit;
    class->blocks++;
    class->requested += size;
    class->usable += usable;
    count_raise(&trace.shared->peak, atomic_fetch_add(&trace.shared->live, usable) + usable);
    count_raise(&trace.shared->most, atomic_fetch_add(&trace.shared->blocks, 1) + 1);
}

/* Before the malloc gets it back: afterwards its size could not be asked. */
static void count_gives(void *p) {
    if (!p)
        return;
    atomic_fetch_sub(&trace.shared->live, count_usable(p));
    atomic_fetch_sub(&trace.shared->blocks, 1);
}

/* A realloc that failed has left the block alone. */
static void count_keeps(size_t usable) {
    atomic_fetch_add(&trace.shared->live, usable);
    atomic_fetch_add(&trace.shared->blocks, 1);
}

static COLD void count_resident(uint64_t now) {
    static char text[4096];
    atomic_store_explicit(&trace.footprint_due, now + 10 * trace.millisecond, memory_order_relaxed);
    if (atomic_flag_test_and_set(&trace.looking))
        return;
    int saved = errno;
    text[file_read("/proc/self/status", text, sizeof text - 1)] = 0;
    const char *line = strstr(text, "VmHWM:");
    if (line)
        count_raise(&trace.shared->resident, strtoul(line + 6, NULL, 10) * 1024);
    errno = saved;
    atomic_flag_clear(&trace.looking);
}

static inline struct writer *count_begin(void) {
    struct writer *w = writer_here();
    if (unlikely(!w || !w->counts)) {
        lose(1);
        return NULL;
    }
    uint64_t now = file_now();
    if (unlikely(now >= atomic_load_explicit(&trace.footprint_due, memory_order_relaxed)))
        count_resident(now);
    return w;
}

/* ── the kernel ────────────────────────────────────────────────────────────── */

static inline void count_kernel(enum trace_kernel call) {
    if (unlikely(working) && here && here->counts)
        here->counts->kernel[call]++;
}

EXPORT void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    count_kernel(TRACE_MMAP);
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

/* The same function, whose name is a macro on musl. */
__asm__(".globl mmap64\n.set mmap64, mmap");

EXPORT int munmap(void *at, size_t size) {
    count_kernel(TRACE_MUNMAP);
    return (int)syscall(SYS_munmap, at, size);
}

EXPORT void *mremap(void *at, size_t size, size_t wanted, int flags, ...) {
    va_list more;
    va_start(more, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
    va_end(more);
    count_kernel(TRACE_MREMAP);
    return (void *)syscall(SYS_mremap, at, size, wanted, flags, to);
}

EXPORT int madvise(void *at, size_t size, int advice) {
    count_kernel(TRACE_MADVISE);
    return (int)syscall(SYS_madvise, at, size, advice);
}

EXPORT int mprotect(void *at, size_t size, int protection) {
    count_kernel(TRACE_MPROTECT);
    return (int)syscall(SYS_mprotect, at, size, protection);
}

/* libc remembers where the break is, so it has to move it. */
EXPORT void *sbrk(intptr_t increment) {
    static void *(*libc)(intptr_t);
    if (!libc)
        next_bind(&libc, "sbrk");
    if (increment != 0)
        count_kernel(TRACE_BRK);
    return libc(increment);
}
