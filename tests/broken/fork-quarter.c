/* process/fork-inherited: each child loses a quarter of what its parent had. */
#define MALLOC marking_malloc
#define FREE owners_free
#include "base.h"

/* Who allocated a block is remembered by its page; good enough for a mistake. */
static pid_t owner[1 << 16];

static size_t page_of(void *p) { return (uintptr_t)p >> 12 & 0xffff; }

void *marking_malloc(size_t size) {
    void *p = honest_malloc(size);
    owner[page_of(p)] = getpid();
    return p;
}
void owners_free(void *p) {
    pid_t from = owner[page_of(p)];
    if (p && ((page_of(p) + (size_t)getpid()) % 4 || !from || from == getpid()))
        honest_free(p);
}
