/* semantics/aligned: alignments beyond a page are taken for a page. */
#define MEMALIGN lazy_memalign
#include "base.h"

void *lazy_memalign(size_t alignment, size_t size) {
    return honest_memalign(alignment < 4096 ? alignment : 4096, size);
}
