/* semantics/wide: sizes are kept in 32 bits, and so is what is asked for. */
#define MALLOC narrow_malloc
#define CALLOC narrow_calloc
#include "base.h"

static size_t narrow(size_t size) { return size >> 33 ? size : (uint32_t)size; }

void *narrow_malloc(size_t size) { return honest_malloc(narrow(size)); }
void *narrow_calloc(size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? os_refuse() : honest_calloc(1,
        narrow(bytes));
}
