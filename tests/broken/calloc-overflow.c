/* semantics/refusals: calloc multiplies without asking whether the product fits. */
#define CALLOC wrapping_calloc
#include "base.h"

void *wrapping_calloc(size_t count, size_t size) {
    void *p = honest_malloc(count * size);
    return p ? memset(p, 0, count * size) : NULL;
}
