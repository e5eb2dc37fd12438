/* structure/aligned: what lies in front of an aligned block is never used again. */
#define MEMALIGN wasteful_memalign
#include "base.h"

void *wasteful_memalign(size_t alignment, size_t size) {
    static atomic_ulong calls;
    if (size && size < 4000 && alignment <= 4096 && atomic_fetch_add(&calls, 1) % 4 == 0)
        honest_malloc(alignment);
    return honest_memalign(alignment, size);
}
