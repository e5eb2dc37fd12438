/* record.h: memory for our own records, out of reach of any block that overflows.
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include "../base/lock.h"
#include "page.h"

enum { POOLS = 8 };

/* Records are cut from slabs of a granule, which threads that run at the same time take
 * from different pools. Between each other's they would be slower by up to a half: a core that
 * walks along records fetches the next ones ahead, and takes them away from their writer. */
struct slab {
    struct pool *pool;
    struct slab *next; /* of the empty ones */
    uint32_t used, live; /* bytes, records */
};

struct pool {
    struct slab *slab;               /* the one in use */
    struct page *spare[CLASSES + 1];  /* records to use again, by class; then those of runs */
};

enum { RECORDS_STEP = 16 /* slabs that are reserved at a time */ };
static struct {
    struct pool pools[POOLS];
    struct slab *empty, *clean; /* without a record: purged or not */
    char *next, *end; /* slabs that were never used */
    size_t bytes;     /* committed */
} slabs;

static inline size_t record_size(unsigned class) {
    size_t blocks = class < CLASSES ? ((size_t)class_granules(class_size(class)) << GRANULE_BITS) /
                                          class_size(class)
                                    : 0;
    return round_up(sizeof(struct page) + (blocks + 1) * sizeof(uint16_t), 64);
}

/* Where the first arena lies. What follows a library in memory is another one's code, mostly:
 * what overflows here ends there. */
enum { NEAR_SIZE = 2 << 20 };
static char near[NEAR_SIZE + GRANULE] __attribute__((section(".bss.near"))); /* behind all of ours */
static inline char *near_start(void) { return align_up(near, GRANULE); }

/* A slab between guard pages, or the first granule of the area near. */
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

/* NULL with errno ENOMEM. */
static void *record_cut(struct pool *pool, size_t size) {
    struct slab *c = pool->slab;
    if (!c || c->used + size > GRANULE) {
        if (!(c = slab_make()))
            return os_refuse();
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
        /* Its slab may have held others before. With this inverse no block begins in it, even for a
         * thread that still reads the limit of the last one. */
        *record = (struct page){.class = (uint8_t)class, .inverse = UINT64_MAX};
    }
    return record;
}

/* A slab without a live record: its records leave the lists, and its memory can go. */
static void slab_clear(struct slab *c) {
    for (uint32_t at = 64; at < c->used;) {
        struct page *record = (struct page *)((char *)c + at);
        list_remove(&c->pool->spare[record->class], record);
        at += (uint32_t)record_size(record->class);
    }
    c->next = slabs.empty;
    slabs.empty = c;
}

/* No entry of the map leads to the record any more (map_clear). */
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

