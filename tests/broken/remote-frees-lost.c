/* structure/handover: a block of some 200 bytes that another thread frees is dropped. */
#define MALLOC marking_malloc
#define FREE owners_free
#include "base.h"

/* Who allocated a block is remembered by its page; good enough for a mistake. */
static pthread_t owner[1 << 16];

static pthread_t *owner_of(void *p) { return &owner[(uintptr_t)p >> 12 & 0xffff]; }

void *marking_malloc(size_t size) {
    void *p = honest_malloc(size);
    *owner_of(p) = pthread_self();
    return p;
}
void owners_free(void *p) {
    size_t size = p ? honest_usable_size(p) : 0;
    if (size < 200 || size > 300 || pthread_equal(*owner_of(p), pthread_self()))
        honest_free(p);
}
