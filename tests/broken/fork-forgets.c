/* process/fork-reuse: a child drops what its parent allocated, as it is not of its own heap. */
#define MALLOC marking_malloc
#define FREE owners_free
#include "base.h"

/* When a block was allocated is remembered by its page; good enough for a mistake. */
static unsigned char generations[1 << 16], generation;

static unsigned char *generation_of(void *p) { return &generations[(uintptr_t)p >> 12 & 0xffff]; }

static void forked(void) { generation++; }
__attribute__((constructor)) static void begin(void) { pthread_atfork(NULL, NULL, forked); }

void *marking_malloc(size_t size) {
    void *p = honest_malloc(size);
    *generation_of(p) = generation;
    return p;
}
void owners_free(void *p) {
    if (p && *generation_of(p) == generation)
        honest_free(p);
}
