/* semantics/calloc: recycled memory is handed out by calloc as its last owner left it. */
#define CALLOC dirty_calloc
#include "base.h"

void *dirty_calloc(size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? os_refuse() : honest_malloc(bytes);
}
