/* family.h: malloc and its relatives, each of which passes its call on, and says so.
 *
 * A file that includes this one has defined got and gives, resized (the work of realloc and
 * reallocarray), SITE, and WORK and REST around the malloc's own work.
 */
#pragma once

#include "next.h"

/* C23, not declared by the C library of Debian 12. */
EXPORT void free_sized(void *p, size_t size);
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size);

EXPORT void *malloc(size_t size) {
    if (unlikely(!is_ready()))
        return early_allocate(size);
    WORK;
    return got(next.malloc(size), TRACE_MALLOC, size, 0, SITE);
}

EXPORT void free(void *p) {
    if (unlikely(early_owns(p)) || unlikely(!is_ready()))
        return;
    gives(p, TRACE_FREE, SITE);
    WORK;
    next.free(p);
    REST;
}

/* The early blocks are zero: none is used twice. */
EXPORT void *calloc(size_t count, size_t size) {
    if (unlikely(!is_ready()))
        return early_allocate(product(count, size));
    WORK;
    return got(next.calloc(count, size), TRACE_CALLOC, product(count, size), 0, SITE);
}

static void *early_resize(void *p, size_t size) {
    void *q = malloc(size);
    if (q && p)
        memcpy(q, p, early_size(p) < size ? early_size(p) : size);
    return q;
}

EXPORT void *realloc(void *p, size_t size) {
    if (unlikely(early_owns(p)) || unlikely(!is_ready()))
        return early_resize(p, size);
    return resized(p, TRACE_REALLOC, 1, size, SITE);
}

EXPORT void *reallocarray(void *p, size_t count, size_t size) {
    if (unlikely(early_owns(p)) || unlikely(!is_ready()))
        return early_resize(p, product(count, size));
    return resized(p, TRACE_REALLOCARRAY, count, size, SITE);
}

/* glibc 2.36 has none; then any free will do. */
EXPORT void free_sized(void *p, size_t size) {
    if (unlikely(early_owns(p)) || unlikely(!is_ready()))
        return;
    gives(p, TRACE_FREE_SIZED, SITE);
    WORK;
    next.free_sized ? next.free_sized(p, size) : next.free(p);
    REST;
}

EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size) {
    if (unlikely(early_owns(p)) || unlikely(!is_ready()))
        return;
    gives(p, TRACE_FREE_ALIGNED_SIZED, SITE);
    WORK;
    next.free_aligned_sized ? next.free_aligned_sized(p, alignment, size) : next.free(p);
    REST;
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
    if (unlikely(!is_ready()))
        return ENOMEM;
    WORK;
    int error = next.posix_memalign(out, alignment, size);
    got(error ? NULL : *out, TRACE_POSIX_MEMALIGN, size, alignment, SITE);
    return error;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    if (unlikely(!is_ready()))
        return NULL;
    WORK;
    return got(next.aligned_alloc(alignment, size), TRACE_ALIGNED_ALLOC, size, alignment, SITE);
}

EXPORT void *memalign(size_t alignment, size_t size) {
    if (unlikely(!is_ready()))
        return NULL;
    WORK;
    return got(next.memalign(alignment, size), TRACE_MEMALIGN, size, alignment, SITE);
}

EXPORT void *valloc(size_t size) {
    if (unlikely(!is_ready()))
        return NULL;
    WORK;
    return got(next.valloc(size), TRACE_VALLOC, size, 0, SITE);
}

EXPORT void *pvalloc(size_t size) {
    if (unlikely(!is_ready()))
        return NULL;
    WORK;
    return got(next.pvalloc(size), TRACE_PVALLOC, size, 0, SITE);
}
