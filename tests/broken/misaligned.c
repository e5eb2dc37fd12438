/* semantics/alignment: a header of 8 bytes puts every block between two multiples of 16. */
#define MALLOC headed_malloc
#define FREE headed_free
#define CALLOC headed_calloc
#define REALLOC headed_realloc
#define USABLE headed_usable
#include "base.h"

enum { HEADER = 8 };

/* Blocks of memalign have no header. */
static bool has_header(void *p) { return (uintptr_t)p % 16 == HEADER; }
static void *before(void *p) { return has_header(p) ? (char *)p - HEADER : p; }
static void *behind(char *p) { return p ? p + HEADER : NULL; }

void *headed_malloc(size_t size) {
    return size > PTRDIFF_MAX ? os_refuse() : behind(honest_malloc(size + HEADER));
}
void headed_free(void *p) { honest_free(before(p)); }
void *headed_calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX)
        return os_refuse();
    return behind(honest_calloc(1, bytes + HEADER));
}
size_t headed_usable(void *p) {
    return p ? honest_usable_size(before(p)) - (has_header(p) ? HEADER : 0) : 0;
}
void *headed_realloc(void *p, size_t size) {
    if (!p)
        return headed_malloc(size);
    if (!has_header(p) || !size || size > PTRDIFF_MAX)
        return honest_realloc(before(p), size);
    return behind(honest_realloc(before(p), size + HEADER));
}
