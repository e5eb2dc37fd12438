/* structure/steady: one block in four of about 3 KiB is forgotten when it is freed. */
#define FREE forgetful_free
#include "base.h"

static atomic_ulong calls;

void forgetful_free(void *p) {
    size_t size = p ? honest_usable_size(p) : 0;
    if (size < 2500 || size > 3600 || atomic_fetch_add(&calls, 1) % 4)
        honest_free(p);
}
