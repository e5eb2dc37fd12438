/* abi.h: malloc and its family, once, on top of the contract in heap.h. A variant
 * includes this file last and thereby becomes a malloc.
 *
 * It holds what every malloc must get right: errno, overflow, zero sizes, alignment
 * rules. Public functions never call public names: in a library opened with dlopen
 * those are glibc's, unless it was linked with -Bsymbolic. reallocarray and pvalloc
 * have to, and say why.
 *
 * Define the whole family: a function left out would be glibc's, and its blocks
 * would reach our free. C++ operator new stays libstdc++'s: it calls malloc, and
 * only it can throw std::bad_alloc.
 */
#pragma once

#include "base/die.h"
#include "base/os.h"

/* Not declared by the C library of Debian 12 (C23). */
EXPORT void free_sized(void *p, size_t size);
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size);

/* Dies if the block cannot have been allocated with this size and alignment (0: none was
 * passed). A release build knows only the usable size, so it rejects larger sizes alone. */
static void heap_expect(void *p, size_t alignment, size_t size, const char *call) {
    (void)alignment;
    size_t usable = heap_usable(p, call);
    must(size <= usable, call, "%p is a block of %zu bytes, not %zu", p, usable, size);
}

/* Debug builds: from here on the verbs of the contract are the guard's. */
#ifdef GUARD
#include "guard/guard.h"
#endif

static inline bool is_power_of_two(size_t n) { return n && !(n & (n - 1)); }

/* ── malloc, free, realloc ─────────────────────────────────────────────────── */

EXPORT void *malloc(size_t size) { return heap_allocate(size); }

EXPORT void free(void *p) { heap_free(p, "free"); }

EXPORT void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (unlikely(__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX))
        return os_refuse();
    return heap_allocate_zeroed(bytes);
}

/* realloc(p, 0) frees, as in glibc: programs written for it leak otherwise. */
static void *reallocate(void *p, size_t size, const char *call) {
    if (!p)
        return heap_allocate(size);
    if (!size) {
        heap_free(p, call);
        return NULL;
    }
    return likely(size <= PTRDIFF_MAX) ? heap_resize(p, size, call) : os_refuse();
}

/* Not inlined, because reallocarray must call it at its address (below). */
__attribute__((noinline)) EXPORT void *realloc(void *p, size_t size) {
    return reallocate(p, size, "realloc");
}

/* valgrind redirects calls to the addresses of malloc, free, realloc and memalign to its own
 * functions, but does so for neither reallocarray nor pvalloc. So these two call the public
 * function at its address, and their blocks come from the library that frees them. -Bsymbolic
 * binds the call to our own function, even in a library that was opened with dlopen. */
EXPORT void *reallocarray(void *p, size_t count, size_t size) {
    size_t bytes;
    if (unlikely(__builtin_mul_overflow(count, size, &bytes)))
        return os_refuse();
    return realloc(p, bytes);
}

/* C23: the caller repeats the size (and alignment) that it asked for; we check them. */
static void free_with_size(void *p, size_t alignment, size_t size, const char *call) {
    if (!p)
        return;
    heap_expect(p, alignment, size, call);
    heap_free(p, call);
}

EXPORT void free_sized(void *p, size_t size) { free_with_size(p, 0, size, "free_sized"); }

EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size) {
    must(!p || (is_power_of_two(alignment) && !((uintptr_t)p & (alignment - 1))),
         "free_aligned_sized", "%p is not aligned to %zu bytes", p, alignment);
    free_with_size(p, alignment, size, "free_aligned_sized");
}

EXPORT size_t malloc_usable_size(void *p) { return p ? heap_usable(p, "malloc_usable_size") : 0; }

/* ── aligned blocks ────────────────────────────────────────────────────────── */

static void *allocate_aligned(size_t alignment, size_t size) {
    if (alignment <= ALIGNMENT)
        return heap_allocate(size);
    if (alignment > PTRDIFF_MAX || size > PTRDIFF_MAX - alignment)
        return os_refuse();
    return heap_allocate_aligned(alignment, size);
}

static void *invalid_alignment(void) {
    errno = EINVAL;
    return NULL;
}

/* POSIX: the result is the return value. errno is unchanged, and so is *out on failure. */
EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
    if (!is_power_of_two(alignment) || alignment % sizeof(void *))
        return EINVAL;
    int saved = errno;
    void *p = allocate_aligned(alignment, size);
    errno = saved;
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    return is_power_of_two(alignment) ? allocate_aligned(alignment, size) : invalid_alignment();
}

/* glibc rounds an alignment that is no power of two up to the next one. */
__attribute__((noinline)) EXPORT void *memalign(size_t alignment, size_t size) {
    if (alignment > SIZE_MAX / 2 + 1)
        return invalid_alignment();
    size_t power = ALIGNMENT;
    while (power < alignment)
        power *= 2;
    return allocate_aligned(power, size);
}

EXPORT void *valloc(size_t size) { return allocate_aligned(os_page_size(), size); }

EXPORT void *pvalloc(size_t size) {
    size_t page = os_page_size();
    return size > PTRDIFF_MAX - page ? os_refuse() : memalign(page, round_up(size, page));
}

/* ── glibc's second names ──────────────────────────────────────────────────── */

/* Programs that wrap malloc call glibc's by these names, and free blocks of one family with the
 * other, so both names must be ours. They cost nothing. Not by the attribute `alias`, because the
 * compiler then wants all attributes of the C library's declarations repeated. */
#define TEXT_OF(name) #name
#define SECOND_NAME(second, name)                                                                  \
    __asm__(".globl " #second "\n.set " #second ", " TEXT_OF(name))
SECOND_NAME(__libc_malloc, malloc);
SECOND_NAME(__libc_calloc, calloc);
SECOND_NAME(__libc_realloc, realloc);
SECOND_NAME(__libc_free, free);
SECOND_NAME(__libc_memalign, memalign);
SECOND_NAME(__libc_valloc, valloc);
SECOND_NAME(__libc_pvalloc, pvalloc);

#include "base/inspect.h"
