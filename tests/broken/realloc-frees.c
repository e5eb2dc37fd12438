/* semantics/refusals: a realloc to an impossible size frees the block that it was to resize. */
#define REALLOC rash_realloc
#include "base.h"

void *rash_realloc(void *p, size_t size) {
    void *q = honest_realloc(p, size);
    if (!q && p && size > PTRDIFF_MAX) {
        memset(p, 0, honest_usable_size(p));
        honest_free(p);
        errno = ENOMEM;
    }
    return q;
}
