/* semantics/realloc-large: a block that grows beyond 4 MiB keeps its first 4 MiB. */
#define REALLOC forgetful_realloc
#include "base.h"

enum { KEPT = 4 << 20 };

void *forgetful_realloc(void *p, size_t size) {
    size_t old = p ? honest_usable_size(p) : 0;
    if (old <= KEPT || size <= old || size > PTRDIFF_MAX)
        return honest_realloc(p, size);
    void *q = honest_malloc(size);
    if (!q)
        return NULL;
    memcpy(q, p, KEPT);
    honest_free(p);
    return q;
}
