/* semantics/realloc: a block that moves loses its last bytes, as whole words are copied. */
#define REALLOC short_realloc
#include "base.h"

void *short_realloc(void *p, size_t size) {
    if (!p || !size || size > PTRDIFF_MAX)
        return honest_realloc(p, size);
    void *q = honest_malloc(size);
    size_t old = honest_usable_size(p), kept = old < size ? old : size;
    if (!q)
        return NULL;
    memcpy(q, p, kept & ~(size_t)7);
    memset((char *)q + (kept & ~(size_t)7), 0, kept & 7);
    honest_free(p);
    return q;
}
