/* mattconte/tlsf with pools from mmap, behind the public names. */
#include "tlsf.c"

#include "locked.h"
#include <sys/mman.h>

enum { POOL = 64 << 20 };
static tlsf_t heap;

static int grow(size_t size) {
    size_t bytes = size > POOL / 2 ? size + POOL : POOL;
    void *pool = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool == MAP_FAILED)
        return 0;
    if (!heap)
        return (heap = tlsf_create_with_pool(pool, bytes)) != NULL;
    return tlsf_add_pool(heap, pool, bytes) != NULL;
}

static void *locked_malloc(size_t size) {
    if (size > tlsf_block_size_max() - POOL || (!heap && !grow(size)))
        return NULL;
    void *p = tlsf_malloc(heap, size);
    return p || !grow(size) ? p : tlsf_malloc(heap, size);
}

static void locked_free(void *p) { tlsf_free(heap, p); }

static void *locked_realloc(void *p, size_t size) {
    if (!p)
        return locked_malloc(size);
    if (size > tlsf_block_size_max() - POOL)
        return NULL;
    void *q = tlsf_realloc(heap, p, size);
    return q || !size || !grow(size) ? q : tlsf_realloc(heap, p, size);
}

size_t malloc_usable_size(void *p) { return p ? tlsf_block_size(p) : 0; }

void *memalign(size_t alignment, size_t size) {
    if (size > tlsf_block_size_max() - POOL - alignment)
        return locked(NULL);
    return locked(!heap && !grow(size) ? NULL
                  : (tlsf_memalign(heap, alignment, size) ?: grow(size + alignment)
                                           ? tlsf_memalign(heap, alignment, size)
                                           : NULL));
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **out, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) || (alignment & (alignment - 1)) || !alignment)
        return EINVAL;
    int before = errno;
    void *p = memalign(alignment, size);
    errno = before;
    if (p)
        *out = p;
    return p ? 0 : ENOMEM;
}
