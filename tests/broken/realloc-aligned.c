/* semantics/realloc-aligned: an over-aligned block that shrinks is copied from where it was cut. */
#define MEMALIGN marking_memalign
#define REALLOC shifting_realloc
#include "base.h"

/* Over-aligned blocks are remembered by their address; good enough for a mistake. */
static _Atomic(void *) aligned[1 << 12];

static _Atomic(void *) *slot_of(void *p) { return &aligned[(uintptr_t)p >> 6 & 0xfff]; }

void *marking_memalign(size_t alignment, size_t size) {
    void *p = honest_memalign(alignment, size);
    if (p && alignment >= 64)
        *slot_of(p) = p;
    return p;
}
void *shifting_realloc(void *p, size_t size) {
    if (!p || *slot_of(p) != p || size > honest_usable_size(p) / 2 || size < 16)
        return honest_realloc(p, size);
    char *q = honest_malloc(size);
    if (!q)
        return NULL;
    *slot_of(p) = NULL;
    memcpy(q, (char *)p + 8, size - 8);
    honest_free(p);
    return q;
}
