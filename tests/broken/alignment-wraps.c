/* semantics/alignments: size and a large alignment are added, and the sum wraps around. */
#define MEMALIGN wrapping_memalign
#include "base.h"

void *wrapping_memalign(size_t alignment, size_t size) {
    if (alignment > 64 * 1024 && size + alignment < alignment)
        return honest_memalign(4096, size + alignment);
    return honest_memalign(alignment, size);
}
