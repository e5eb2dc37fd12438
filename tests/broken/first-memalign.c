/* threads/first: a thread has a heap from its first malloc on, and memalign takes it for granted. */
#define MALLOC heaped_malloc
#define CALLOC heaped_calloc
#define REALLOC heaped_realloc
#define MEMALIGN heaped_memalign
#include "base.h"

static __thread size_t *aligned; /* bytes, for statistics */

static void prepare(void) {
    if (!aligned)
        aligned = honest_calloc(1, sizeof *aligned);
}
void *heaped_malloc(size_t size) { return prepare(), honest_malloc(size); }
void *heaped_calloc(size_t count, size_t size) { return prepare(), honest_calloc(count, size); }
void *heaped_realloc(void *p, size_t size) { return prepare(), honest_realloc(p, size); }
void *heaped_memalign(size_t alignment, size_t size) {
    *aligned += size;
    return honest_memalign(alignment, size);
}
