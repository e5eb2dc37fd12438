/* process/fork-reuse: a child drops what its parent allocated, as it is not of its own heap. */
#define MALLOC marking_malloc
#define FREE owners_free
#include "base.h"

/* Who allocated a block is remembered by its page; good enough for a mistake. */
static pid_t owner[1 << 16];

static pid_t *owner_of(void *p) { return &owner[(uintptr_t)p >> 12 & 0xffff]; }

void *marking_malloc(size_t size) {
    void *p = honest_malloc(size);
    *owner_of(p) = getpid();
    return p;
}
void owners_free(void *p) {
    if (p && (*owner_of(p) == getpid() || !*owner_of(p)))
        honest_free(p);
}
