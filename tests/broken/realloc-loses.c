/* semantics/realloc: a block that moves loses its last bytes, as whole words are copied. */
#define REALLOC short_realloc
#include "base.h"

void *short_realloc(void *p, size_t size) {
    if (!p || !size || size > PTRDIFF_MAX)
        return honest_realloc(p, size);
    size_t old = honest_usable_size(p), kept = old < size ? old : size;
    char *q = honest_realloc(p, size);
    if (q && q != p)
        memset(q + (kept & ~(size_t)7), 0, kept & 7);
    return q;
}
