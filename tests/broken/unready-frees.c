/* threads/reclaimer: what a thread frees that has never allocated is lost in part. */
#define MALLOC ready_malloc
#define FREE ready_free
#include "base.h"

static __thread bool ready;
static atomic_ulong calls;

void *ready_malloc(size_t size) {
    ready = true;
    return honest_malloc(size);
}
void ready_free(void *p) {
    if (ready || atomic_fetch_add(&calls, 1) % 3)
        honest_free(p);
}
