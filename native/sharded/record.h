/* record.h: memory for our own records, out of reach of blocks that overflow.
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include "../base/lock.h"
#include "page.h"

enum { POOLS = 8 };

/* Records are cut from slabs of one granule. Each slab belongs to one of POOLS pools, which heaps
 * use by turns. If records of different threads interleave, these threads run up to 50 % slower: a
 * core that walks along records prefetches the next ones, and takes their cache lines from the
 * thread that writes them. Records of heaps and huge blocks are never freed, so a slab that holds
 * one is never empty. */
struct slab {
    struct pool *pool;
    struct slab *next;   /* in the list of empty or clean ones */
    uint32_t used, live; /* bytes that are cut, this header included; records in use */
};

struct pool {
    struct slab *slab;               /* from which records are cut */
    struct page *spare[CLASSES + 1]; /* records to reuse, by class; the last list is of runs' */
};

enum { RECORDS_STEP = 16 /* slabs that are reserved at a time */ };
static struct {
    struct pool pools[POOLS];
    struct slab *empty, *clean; /* slabs without a record: to be purged, and purged */
    char *next, *end;           /* slabs that were never used */
    size_t bytes;               /* committed */
} slabs;

static inline size_t record_size(unsigned class) {
    size_t blocks = class < CLASSES ? ((size_t)class_granules(class_size(class)) << GRANULE_BITS) /
                                          class_size(class)
                                    : 0;
    return round_up(sizeof(struct page) + (blocks + 1) * sizeof(uint16_t), 64);
}

/* Holds the first slab and the first arena. So near to our other variables it needs no page tables
 * of its own. It is the last of them, and behind it usually lies the read-only start of another
 * library, where an overflow faults. */
enum { NEAR_SIZE = 2 << 20 };
static char near[NEAR_SIZE + GRANULE] __attribute__((section(".bss.near")));
static inline char *near_start(void) { return align_up(near, GRANULE); }

/* Returns an empty slab, or a fresh one: first the start of `near`, later one of RECORDS_STEP
 * between two inaccessible granules. */
static struct slab *slab_make(void) {
    struct slab **list = slabs.empty ? &slabs.empty : &slabs.clean, *c = *list;
    if (c) {
        *list = c->next;
        return c;
    }
    if (!slabs.bytes) {
        slabs.bytes = GRANULE;
        return (struct slab *)near_start();
    }
    if (slabs.next == slabs.end) {
        size_t length = (RECORDS_STEP + 3) * GRANULE;
        char *memory = os_reserve(length);
        if (!memory)
            return NULL;
        slabs.next = align_up(memory + GRANULE, GRANULE);
        slabs.end = slabs.next + RECORDS_STEP * GRANULE;
    }
    if (!os_commit(slabs.next, GRANULE))
        return NULL;
    c = (struct slab *)slabs.next;
    slabs.next += GRANULE;
    slabs.bytes += GRANULE;
    return c;
}

/* Cuts a record from the pool's slab. NULL if there is no memory; errno stays, for free's sake. */
static void *record_cut(struct pool *pool, size_t size) {
    struct slab *c = pool->slab;
    if (!c || c->used + size > GRANULE) {
        int saved = errno;
        c = slab_make();
        errno = saved;
        if (!c)
            return NULL;
        *c = (struct slab){.pool = pool, .used = 64};
        pool->slab = c;
    }
    c->live++;
    c->used += (uint32_t)size;
    return (char *)c + c->used - size;
}

static struct page *record_make(struct pool *pool, unsigned class) {
    struct page *record = pool->spare[class];
    if (record) {
        list_remove(&pool->spare[class], record);
        struct slab *c = (struct slab *)((uintptr_t)record & ~(uintptr_t)(GRANULE - 1));
        c->live++;
    } else if ((record = record_cut(pool, record_size(class)))) {
        /* The slab may have held other records before. With this inverse page_begins is false, even
         * for a thread that still reads the limit of an older record here. */
        *record = (struct page){.class = (uint8_t)class, .inverse = UINT64_MAX};
    }
    return record;
}

/* No record of the slab is in use: unlists them all, so that its memory can be purged. */
static void slab_clear(struct slab *c) {
    for (uint32_t at = 64; at < c->used;) {
        struct page *record = (struct page *)((char *)c + at);
        list_remove(&c->pool->spare[record->class], record);
        at += (uint32_t)record_size(record->class);
    }
    c->next = slabs.empty;
    slabs.empty = c;
}

/* The caller has removed the record from the map (map_clear). */
static void record_free(struct page *record) {
    struct slab *c = (struct slab *)((uintptr_t)record & ~(uintptr_t)(GRANULE - 1));
    record->kind = PAGE_GONE;
    record->owner = NULL;
    record->limit = 0;
    record->granules = 0;
    list_push(&c->pool->spare[record->class], record);
    if (--c->live == 0 && c != c->pool->slab)
        slab_clear(c);
}

