/* random/mixed: now and then a small block is handed out twice. */
#define MALLOC generous_malloc
#include "base.h"

static void *latest;
static atomic_ulong calls;

void *generous_malloc(size_t size) {
    void *p = latest;
    if (atomic_fetch_add(&calls, 1) % 50 == 49 && p && size <= 64)
        return p;
    p = honest_malloc(size);
    latest = size >= 64 && size <= 4000 ? p : NULL;
    return p;
}
