/* semantics/realloc-aligned: an over-aligned block that shrinks is copied from where it was cut. */
#define MEMALIGN marking_memalign
#define REALLOC shifting_realloc
#define FREE forgetting_free
#include "base.h"

/* Over-aligned blocks are remembered by their address; good enough for a mistake. */
enum { FAR = 512 * 1024 };
static struct {
    void *p;
    size_t size;
} aligned[1 << 12];

static size_t slot_of(void *p) { return (uintptr_t)p >> 19 & 0xfff; }

void *marking_memalign(size_t alignment, size_t size) {
    void *p = honest_memalign(alignment, size);
    if (p && alignment >= FAR) {
        aligned[slot_of(p)].p = p;
        aligned[slot_of(p)].size = size;
    }
    return p;
}
void *shifting_realloc(void *p, size_t size) {
    size_t slot = slot_of(p);
    if (!p || aligned[slot].p != p || size >= aligned[slot].size || size < 16)
        return honest_realloc(p, size);
    char *q = honest_malloc(size);
    if (!q)
        return NULL;
    aligned[slot].p = NULL;
    memcpy(q, (char *)p + 8, size - 8);
    honest_free(p);
    return q;
}
void forgetting_free(void *p) {
    if (p && aligned[slot_of(p)].p == p)
        aligned[slot_of(p)].p = NULL;
    honest_free(p);
}
