/* semantics/calloc: calloc clears whole words only, and leaves the bytes behind them as they were. */
#define CALLOC dirty_calloc
#include "base.h"

void *dirty_calloc(size_t count, size_t size) {
    size_t bytes;
    void *p = __builtin_mul_overflow(count, size, &bytes) ? os_refuse() : honest_malloc(bytes);
    return p ? memset(p, 0, bytes & ~(size_t)7) : NULL;
}
