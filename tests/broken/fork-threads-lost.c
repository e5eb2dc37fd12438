/* process/fork-reuse-threads: a child drops what other threads of its parent allocated. */
#define MALLOC marking_malloc
#define FREE owners_free
#include "base.h"

/* Who allocated a block, and when, is remembered by its page; good enough for a mistake. */
static pthread_t owner[1 << 16];
static unsigned char generations[1 << 16], generation;

static size_t page_of(void *p) { return (uintptr_t)p >> 12 & 0xffff; }

static void forked(void) { generation++; }
__attribute__((constructor)) static void begin(void) { pthread_atfork(NULL, NULL, forked); }

void *marking_malloc(size_t size) {
    void *p = honest_malloc(size);
    owner[page_of(p)] = pthread_self();
    generations[page_of(p)] = generation;
    return p;
}
void owners_free(void *p) {
    size_t page = page_of(p);
    if (generations[page] == generation || pthread_equal(owner[page], pthread_self()))
        honest_free(p);
}
