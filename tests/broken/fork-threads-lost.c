/* process/fork-reuse-threads: a child drops what other threads of its parent allocated. */
#define MALLOC marking_malloc
#define FREE owners_free
#include "base.h"

/* Who allocated a block is remembered by its page; good enough for a mistake. */
static pthread_t owner[1 << 16];
static pid_t process[1 << 16];

static size_t page_of(void *p) { return (uintptr_t)p >> 12 & 0xffff; }

void *marking_malloc(size_t size) {
    void *p = honest_malloc(size);
    owner[page_of(p)] = pthread_self();
    process[page_of(p)] = getpid();
    return p;
}
void owners_free(void *p) {
    size_t page = page_of(p);
    if (p && (!process[page] || process[page] == getpid() || pthread_equal(owner[page], pthread_self())))
        honest_free(p);
}
