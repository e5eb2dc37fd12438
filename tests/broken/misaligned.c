/* semantics/alignment: a header of 8 bytes puts every block between two multiples of 16. */
#define MALLOC headed_malloc
#define FREE headed_free
#define CALLOC headed_calloc
#define REALLOC headed_realloc
#define USABLE headed_usable
#define MEMALIGN headed_memalign
#include "base.h"

void *headed_malloc(size_t size) {
    char *p = size < PTRDIFF_MAX - 8 ? honest_malloc(size + 8) : os_refuse();
    return p ? p + 8 : NULL;
}
void headed_free(void *p) { honest_free(p ? (char *)p - 8 : NULL); }
void *headed_calloc(size_t count, size_t size) {
    void *p = headed_malloc(count * size);
    return p ? memset(p, 0, count * size) : NULL;
}
size_t headed_usable(void *p) { return p ? honest_usable_size((char *)p - 8) - 8 : 0; }
void *headed_realloc(void *p, size_t size) {
    char *q = honest_realloc(p ? (char *)p - 8 : NULL, size + 8);
    return q ? q + 8 : NULL;
}
void *headed_memalign(size_t alignment, size_t size) { return headed_malloc(size + alignment * 0); }
