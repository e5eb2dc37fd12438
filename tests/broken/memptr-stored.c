/* semantics/memptr: posix_memalign that finds no memory at a large alignment stores all the same. */
#define POSIX_MEMALIGN storing_posix_memalign
#define MALLOC storing_malloc
#include <stddef.h>
int storing_posix_memalign(void **out, size_t alignment, size_t size);
#include "base.h"

void *storing_malloc(size_t size) { return honest_malloc(size); }
int storing_posix_memalign(void **out, size_t alignment, size_t size) {
    int error = usual_posix_memalign(out, alignment, size);
    if (error == ENOMEM && alignment >= 65536)
        *out = (void *)alignment;
    return error;
}
