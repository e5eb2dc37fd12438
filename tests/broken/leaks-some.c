/* structure/steady: one block in ten is forgotten when it is freed. */
#define FREE forgetful_free
#include "base.h"

static atomic_ulong calls;

void forgetful_free(void *p) {
    if (atomic_fetch_add(&calls, 1) % 10)
        honest_free(p);
}
