/* base.h: a malloc that works, under names of its own, and the public names on top of it.
 * To break one function, name its replacement before you include this file:
 *
 *     #define CALLOC dirty_calloc
 *     #include "base.h"
 *     void *dirty_calloc(size_t count, size_t size) { … honest_malloc … }
 */
#pragma once

#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>

#define malloc             honest_malloc
#define free               honest_free
#define calloc             honest_calloc
#define realloc            honest_realloc
#define reallocarray       honest_reallocarray
#define free_sized         honest_free_sized
#define free_aligned_sized honest_free_aligned_sized
#define malloc_usable_size honest_usable_size
#define posix_memalign     honest_posix_memalign
#define aligned_alloc      honest_aligned_alloc
#define memalign           honest_memalign
#define valloc             honest_valloc
#define pvalloc            honest_pvalloc

#include "../../native/paged.c"

#undef malloc
#undef free
#undef calloc
#undef realloc
#undef reallocarray
#undef free_sized
#undef free_aligned_sized
#undef malloc_usable_size
#undef posix_memalign
#undef aligned_alloc
#undef memalign
#undef valloc
#undef pvalloc

#ifndef MALLOC
#define MALLOC honest_malloc
#endif
#ifndef FREE
#define FREE honest_free
#endif
#ifndef CALLOC
#define CALLOC honest_calloc
#endif
#ifndef REALLOC
#define REALLOC honest_realloc
#endif
#ifndef USABLE
#define USABLE honest_usable_size
#endif
#ifndef MEMALIGN
#define MEMALIGN honest_memalign
#endif
#ifndef POSIX_MEMALIGN
#define POSIX_MEMALIGN usual_posix_memalign
#endif

void *MALLOC(size_t size);
void FREE(void *p);
void *CALLOC(size_t count, size_t size);
void *REALLOC(void *p, size_t size);
size_t USABLE(void *p);
void *MEMALIGN(size_t alignment, size_t size);

EXPORT void *malloc(size_t size) { return MALLOC(size); }
EXPORT void free(void *p) { FREE(p); }
EXPORT void *calloc(size_t count, size_t size) { return CALLOC(count, size); }
EXPORT void *realloc(void *p, size_t size) { return REALLOC(p, size); }
EXPORT size_t malloc_usable_size(void *p) { return USABLE(p); }
#ifndef WITHOUT_ALIGNED
EXPORT void *memalign(size_t alignment, size_t size) { return MEMALIGN(alignment, size); }
EXPORT void *valloc(size_t size) { return MEMALIGN(4096, size); }
EXPORT void *pvalloc(size_t size) { return honest_pvalloc(size); }
EXPORT void *aligned_alloc(size_t alignment, size_t size) { return MEMALIGN(alignment, size); }

static inline int usual_posix_memalign(void **out, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) || !is_power_of_two(alignment))
        return EINVAL;
    int before = errno;
    void *p = MEMALIGN(alignment, size);
    errno = before;
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}
EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
    return POSIX_MEMALIGN(out, alignment, size);
}
#endif

EXPORT void *reallocarray(void *p, size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? os_refuse() : REALLOC(p, bytes);
}
