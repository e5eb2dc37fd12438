/* semantics/refusals: a realloc that finds no memory frees the block that it was to resize. */
#define REALLOC rash_realloc
#include "base.h"

void *rash_realloc(void *p, size_t size) {
    void *q = honest_realloc(p, size);
    if (!q && p && size) {
        memset(p, 0, honest_usable_size(p));
        honest_free(p);
        errno = ENOMEM;
    }
    return q;
}
