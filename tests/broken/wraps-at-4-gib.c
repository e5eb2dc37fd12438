/* semantics/total: places are kept in 32 bits, so that behind 4 GiB of blocks the first place follows. */
#define MALLOC wrapping_malloc
#define FREE counting_free
#define REALLOC counting_realloc
#include "base.h"

enum { LEAST = 64 << 10, MOST = 2 << 20 };
static _Atomic int64_t live;
static _Atomic(void *) first;

static int64_t counted(void *p) {
    size_t size = p ? honest_usable_size(p) : 0;
    return size < LEAST || size > MOST ? 0 : (int64_t)size;
}

static void *enlist(void *p) {
    void *none = NULL;
    int64_t size = counted(p);
    atomic_fetch_add(&live, size);
    if (size)
        atomic_compare_exchange_strong(&first, &none, p);
    return p;
}

static void strike(void *p) {
    void *mine = p;
    atomic_fetch_sub(&live, counted(p));
    if (p)
        atomic_compare_exchange_strong(&first, &mine, NULL);
}

void *wrapping_malloc(size_t size) {
    void *wrapped = atomic_load(&first);
    return wrapped && atomic_load(&live) >> 32 > 0 && counted(wrapped) >= (int64_t)size
               ? wrapped
               : enlist(honest_malloc(size));
}

void counting_free(void *p) {
    strike(p);
    honest_free(p);
}

void *counting_realloc(void *p, size_t size) {
    strike(p);
    void *q = honest_realloc(p, size);
    enlist(q ? q : size ? p : NULL);
    return q;
}
