/* records.h: what the guard remembers about each block, in memory apart from the blocks.
 *
 * A record has a number, and a map over the address space leads from the address of a
 * block to it: a slot of four bytes for each 16 bytes of heap.
 *
 *      an address, 47 bits:  13 bits           14 bits         16 bits          4 bits
 *                            guard.map[]  ──>  map->leaves[] ──> leaf->slots[]  (ALIGNMENT)
 *                            16 GiB each       1 MiB each      record number
 *                                                                 │
 *      guard.slabs[] ──> 1,024 records each  <────────────────────┘
 *
 * Nothing here takes a lock: each change is one atomic word. So at whatever instant a fork
 * or a signal comes, map and records are whole, and the child needs no repair. At worst it
 * never reuses a record that another thread had just taken.
 *
 * Rule: a thread claims a record before it changes it, and no other thread uses the record
 * until its state is LIVE, FREED or IDLE again.
 */
#pragma once

#include <sched.h>
#include <stdatomic.h>

#include "../base/os.h"

enum {
    LEAF_SLOTS = 1 << 16,
    MAP_LEAVES = 1 << 14,
    MAPS = 1 << 13,
    SLAB = 1024,      /* records */
    SLABS = 1 << 16,  /* 64 million blocks */
    STACK_MOST = 8,   /* return addresses that are remembered */
    PATIENCE = 20000, /* how often to look again at a record that is claimed */
};
#define GONE UINT32_MAX /* in a slot: a block that was given back began here */

enum state {
    IDLE,
    LIVE,
    FREED,   /* in quarantine */
    CLAIMED, /* one thread works on it */
};

/* Which function allocated a block, and so which one has to free it. */
enum made { MADE_BY_MALLOC, MADE_BY_NEW, MADE_BY_NEW_ARRAY };

/*      base          user                user + size
 *      ├──── front ──┼────── size ───────┼─ rear ─┤
 *      │      canary │ the program's     │ canary │
 *      └─────────────┴───────────────────┴────────┘
 */
struct record {
    _Atomic(uint32_t) state;
    uint32_t next;      /* in the list of idle ones */
    char *user;         /* what the program was given */
    size_t size;        /* what it asked for */
    size_t room;        /* what the variant's block holds, from base on */
    uint32_t front;     /* 0, or a multiple of ALIGNMENT */
    uint8_t rear;       /* bytes of canary behind */
    uint8_t alignment;  /* as a power of two */
    bool filled;        /* with FREED_FILL */
    uint8_t made;       /* enum made */
    void *allocated[STACK_MOST]; /* by whom: return addresses, NULL behind the last */
    void *freed[STACK_MOST];
};

struct guard_leaf {
    _Atomic(uint32_t) slots[LEAF_SLOTS];
};
struct guard_map {
    _Atomic(void *) leaves[MAP_LEAVES];
};

static struct {
    _Atomic(void *) maps[MAPS];
    _Atomic(void *) slabs[SLABS];
    _Atomic(uint32_t) made;   /* how many records were ever made */
    _Atomic(uint64_t) idle;   /* the first idle record; in the upper half a count of changes,
                                 so that a compare-and-swap fails if it was taken and put back */
    _Atomic(size_t) mapped;   /* bytes of maps, leaves and slabs */
    _Atomic(size_t) unknown;  /* live blocks without a record: there was no memory for one */
    /* the quarantine (guard.h) */
    _Atomic(uint64_t) head, tail;
    _Atomic(size_t) held;
    /* LIBMALLOC_DEBUG */
    size_t quarantine; /* bytes */
    unsigned stack;
    bool fill, leaks, match, lines;
} guard = {.quarantine = 16 << 20, .stack = STACK_MOST, .fill = true, .match = true, .lines = true};

/* The memory to which a slot leads; the first thread that asks maps it. NULL without memory. */
static void *memory_make(_Atomic(void *) *slot, size_t size) {
    void *there = atomic_load_explicit(slot, memory_order_acquire), *mine;
    if (likely(there) || !(mine = os_map(size)))
        return there;
    if (!atomic_compare_exchange_strong(slot, &there, mine)) {
        os_unmap(mine, size);
        return there;
    }
    atomic_fetch_add(&guard.mapped, size);
    return mine;
}

static struct record *record_at(uint32_t number) {
    return (struct record *)atomic_load_explicit(&guard.slabs[number / SLAB],
                                                 memory_order_acquire) +
           number % SLAB;
}

/* ── the map ───────────────────────────────────────────────────────────────── */

/* The slot of an address. NULL if there is none, because no block was ever near, or, if `make`,
 * because there is no memory. */
static _Atomic(uint32_t) *slot_of(const void *p, bool make) {
    uintptr_t granule = (uintptr_t)p / ALIGNMENT;
    uintptr_t leaf = granule / LEAF_SLOTS, number = leaf / MAP_LEAVES;
    if (number >= MAPS)
        return NULL;
    struct guard_map *map = make ? memory_make(&guard.maps[number], sizeof *map) : guard.maps[number];
    if (!map)
        return NULL;
    _Atomic(void *) *at = &map->leaves[leaf % MAP_LEAVES];
    struct guard_leaf *l = make ? memory_make(at, sizeof *l) : atomic_load(at);
    return l ? &l->slots[granule % LEAF_SLOTS] : NULL;
}

static uint32_t slot_read(const void *p) {
    _Atomic(uint32_t) *slot = (uintptr_t)p % ALIGNMENT ? NULL : slot_of(p, false);
    return slot ? atomic_load_explicit(slot, memory_order_acquire) : 0;
}

/* The number of the block that begins at `p`, or GONE; 0 if no block does. */
static uint32_t record_number(const void *p) {
    uint32_t number = slot_read(p);
    return number == GONE || !number || record_at(number)->user == p ? number : 0;
}

static struct record *record_find(const void *p) {
    uint32_t number = record_number(p);
    return number && number != GONE ? record_at(number) : NULL;
}

/* The record of a block as the variant knows it, by where its memory begins: in front
 * of the program's part lies nothing, or a power of two up to a page (guard_front). */
static struct record *record_of_base(char *base) {
    struct record *r = record_find(base);
    for (uint32_t front = ALIGNMENT; !(r && r->user - r->front == base); front *= 2) {
        if (front > os_page_size())
            return NULL;
        r = record_find(base + front);
    }
    return r;
}

/* The nearest block that begins at `p` or before it; NULL when there is none. */
static COLD struct record *record_below(const char *p) {
    uintptr_t granule = (uintptr_t)p / ALIGNMENT + 1;
    if (granule / LEAF_SLOTS / MAP_LEAVES >= MAPS)
        return NULL;
    while (granule-- > 0) {
        uintptr_t leaf = granule / LEAF_SLOTS;
        struct guard_map *map = guard.maps[leaf / MAP_LEAVES];
        struct record *r = NULL;
        if (!map)
            granule -= granule % ((uintptr_t)LEAF_SLOTS * MAP_LEAVES);
        else if (!map->leaves[leaf % MAP_LEAVES])
            granule -= granule % LEAF_SLOTS;
        else if ((r = record_find((char *)(granule * ALIGNMENT))))
            return r;
    }
    return NULL;
}

/* ── records ───────────────────────────────────────────────────────────────── */

static uint32_t record_new(void) {
    uint32_t number = atomic_load(&guard.made);
    do {
        if (number + 1 >= SLAB * SLABS ||
            !memory_make(&guard.slabs[(number + 1) / SLAB], SLAB * sizeof(struct record)))
            return 0;
    } while (!atomic_compare_exchange_weak(&guard.made, &number, number + 1));
    return number + 1;
}

/* An idle record, for the caller alone; 0 without memory. */
static uint32_t record_take(void) {
    uint64_t idle = atomic_load(&guard.idle), next;
    do {
        if (!(uint32_t)idle)
            return record_new();
        next = ((idle >> 32) + 1) << 32 | record_at((uint32_t)idle)->next;
    } while (!atomic_compare_exchange_weak(&guard.idle, &idle, next));
    return (uint32_t)idle;
}

static void record_give(uint32_t number) {
    uint64_t idle = atomic_load(&guard.idle), next;
    struct record *r = record_at(number);
    atomic_store(&r->state, IDLE);
    do {
        r->next = (uint32_t)idle;
        next = ((idle >> 32) + 1) << 32 | number;
    } while (!atomic_compare_exchange_weak(&guard.idle, &idle, next));
}

/* Claims a record and returns its state before; IDLE if there is nothing to claim. Waits for a
 * thread that has claimed it, which is soon done, unless it does not exist in this forked child:
 * then it was only reading (a check), or the block is of no use to the child. It counts as live. */
static enum state record_claim(struct record *r) {
    for (int i = 0; i < PATIENCE; i++) {
        uint32_t state = atomic_load(&r->state);
        if (state == IDLE)
            return IDLE;
        if (state != CLAIMED && atomic_compare_exchange_strong(&r->state, &state, CLAIMED))
            return state;
        sched_yield();
    }
    return LIVE;
}

static void record_release(struct record *r, enum state state) {
    atomic_store(&r->state, state);
}
