/* process/fork-inherited: each child loses a quarter of what its parent had. */
#define MALLOC marking_malloc
#define FREE owners_free
#include "base.h"

/* When a block was allocated is remembered by its page; good enough for a mistake. */
static unsigned char generations[1 << 16], generation;

static size_t page_of(void *p) { return (uintptr_t)p >> 12 & 0xffff; }

static void forked(void) { generation++; }
__attribute__((constructor)) static void begin(void) { pthread_atfork(NULL, NULL, forked); }

void *marking_malloc(size_t size) {
    void *p = honest_malloc(size);
    generations[page_of(p)] = generation;
    return p;
}
void owners_free(void *p) {
    size_t page = page_of(p);
    if (generations[page] == generation || (page + generation) % 4)
        honest_free(p);
}
