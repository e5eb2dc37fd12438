/* page.h: the record of a run of granules, how a pointer leads to it, and free blocks.
 *
 *      a pointer:   ┌────── granule ──────┬─ offset ─┐
 *                   │                     │  64 KiB  │
 *                   └──────────┬──────────┴──────────┘
 *                              │ modulo the length of the map
 *      map ───────> ┌───┬───┬──▼┬───┬───┬───┐          one pointer for each granule
 *                   └───┴───┴─┬─┴───┴───┴───┘
 *                             ▼
 *      ┌ record ────────────────────────┐              ┌ run ──────────────────────┐
 *      │ start, size, inverse, bound, … │ ─── start ──>│ block │ block │ block │ … │
 *      │ stack: which blocks are free   │              └───────────────────────────┘
 *      └────────────────────────────────┘
 *
 * The map is only as long as the heap needs it (arena.h), so addresses far apart share an entry.
 * That does no harm, because the test whether a block begins at a pointer uses all bits of the
 * address: an address outside of the run fails it, and so does NULL.
 *
 * A page's record lists its free blocks, as offsets on a stack. No block holds a link that malloc
 * follows: there is none to forge, to leak or to write back later, free memory can be purged, and
 * an offset cannot lead out of its own page. The records lie in front of the first arena or between
 * guard pages, where no overflow reaches them.
 */
#pragma once

#include <stdatomic.h>

#include "../base/die.h"
#include "../base/os.h"
#include "class.h"

enum {
    GRANULE_BITS = 16,
    GRANULE = 1 << GRANULE_BITS,
    HUGE_PAGE = 2 << 20,
};

enum page_kind {
    PAGE_GONE,  /* the record describes no memory */
    PAGE_SMALL, /* a page: blocks of one class */
    PAGE_LARGE, /* a run with one large block */
    PAGE_KEPT,  /* the same after its free: a thread keeps it for its next large block */
    PAGE_FREE,  /* a free run */
    PAGE_BUSY,  /* a run in transition: being made, freed or purged */
};

/* The word `remote` of a page counts blocks that other threads freed. A thread first reserves
 * entries at the far end of the stack, then fills them in, then counts them as filled. */
enum {
    REMOTE_RESERVED = 1,     /* one more is reserved: 16 bits */
    REMOTE_FILLED = 1 << 16, /* one more is filled in: 16 bits */
};
static const uint64_t
    REMOTE_PENDING = 1ul << 32, /* in its owner's list `pending`, or about to be */
    REMOTE_FULL = 1ul << 33,    /* all is carved, and the page is not current: see page_return */
    REMOTE_TAKEN = 1ul << 34;   /* another thread found it empty and gave its run back */

/* The first cache line holds what every thread that frees a block reads, and what is seldom
 * written; the second what the owner writes at each call; the third what other threads write. If
 * they shared a line, every malloc of the owner would take it from the threads that free its
 * blocks, and every free of theirs from the owner. */
struct page {
    struct heap *owner; /* NULL unless kind is PAGE_SMALL */
    char *start;
    uintptr_t origin;  /* the owner's tag minus the start: see page_begins_for */
    uint64_t inverse;  /* a carved block begins at an offset if offset × inverse < limit */
    uint64_t limit;
    uint32_t size;     /* of a block */
    uint32_t granules; /* length of the run */
    uint16_t capacity; /* blocks that fit */
    uint16_t carved;   /* blocks that were ever on the stack; behind them lies fresh memory */
    uint32_t kind;     /* enum page_kind, swapped atomically: riscv64 swaps no less than 4 bytes */
    uint8_t class;     /* CLASSES: the record is of a run, without a stack */
    uint8_t shift;     /* a place on the stack is an offset in units of 1 << shift bytes */
    uint8_t era;       /* the region's: a fork may begin a new one */
    uint8_t area;      /* enum area_kind */
    bool dirty;        /* the run may hold old data */

    _Alignas(64) char *base;  /* the start again; of a large run, the address of its block */
    struct block *top;        /* the free block that malloc returns next */
    size_t count;             /* free blocks on the stack, with `top` */
    struct page *next, *prev; /* in a list of pages, of free runs, or of spare records */
    uint32_t budget;          /* frees until page_budget_spent. Not beside `count`, or the compiler
                               * changes both as one vector: four instructions more */
    bool listed, sparse;      /* is in its heap's `partial`; is sparse (page_became_sparse) */
    uint16_t goal;            /* `count` at which the budget ends, unless the page is current */
    uint16_t seen, swept;     /* `count` at the last heap_sweep; at the last page_sweep */

    _Alignas(64) _Atomic(uint64_t) remote;
    struct page *pending; /* the next one in its owner's list of pages with remote frees */
    uint64_t purged;      /* a bit for each piece that was purged (sweep.h) */
    struct page *younger, *older; /* of a dirty free run: its neighbours by age */
    _Alignas(64) uint16_t stack[];
};
static_assert(sizeof(struct page) == 3 * 64, "three cache lines before the stack");

/* A record that describes nothing, for heaps and classes that have none. */
static struct page page_none;
#define NONE &page_none

/* ── the map ───────────────────────────────────────────────────────────────── */

enum { MAP_FIRST = 64 }; /* granules: enough for the first arena */

/* An entry is the distance from the map to a record. The map begins with a record that describes
 * nothing, so an entry of 0 leads there, and a fresh map is memory that was never touched. */
struct map {
    _Alignas(64) char none[sizeof(struct page)];
    uintptr_t mask;
    ptrdiff_t entry[];
};

static struct {
    _Alignas(64) char none[sizeof(struct page)];
    uintptr_t mask;
    ptrdiff_t entry[MAP_FIRST];
} map_first = {.mask = MAP_FIRST - 1};

/* A longer map replaces this one as the heap grows; the old one stays, because threads may be
 * reading it. A thread that got a pointer sees a map that covers it, because that map was published
 * before malloc returned the pointer. */
static _Atomic(struct map *) page_map = (struct map *)&map_first;

static inline struct page *page_of(const void *p) {
    struct map *m = atomic_load_explicit(&page_map, memory_order_relaxed);
    return (struct page *)((char *)m + m->entry[(uintptr_t)p >> GRANULE_BITS & m->mask]);
}

/* Another thread may read a page's kind while the page is made. A thread that reads the new kind
 * also sees the fields that were written before. This costs nothing on x86-64, where stores stay in
 * order, and so do loads. */
static inline void page_publish(struct page *page, enum page_kind kind) {
    __atomic_store_n(&page->kind, kind, __ATOMIC_RELEASE);
}
static inline enum page_kind page_published(const struct page *page) {
    return (enum page_kind)__atomic_load_n(&page->kind, __ATOMIC_ACQUIRE);
}

static inline size_t page_length(const struct page *page) {
    return (size_t)page->granules << GRANULE_BITS;
}

static inline char *page_end(const struct page *page) {
    return page->start + page_length(page);
}

/* ── blocks ────────────────────────────────────────────────────────────────── */

/* Every free block begins with MARK. If free finds the mark, it suspects a double free; if malloc
 * does not find it, the free block was written to. The eight bytes are a 32-bit constant,
 * sign-extended, so that one instruction compares them. free reads the lower four only: a load that
 * narrow is forwarded from the program's last store, while one of eight bytes often waits until
 * several narrower stores have reached the cache. */
enum { MARK = (int32_t)0xa5c7935e };
struct block {
    int64_t mark;
};

static inline bool block_is_marked(const void *p) {
    int32_t low;
    memcpy(&low, p, sizeof low);
    return low == MARK;
}

static inline bool block_is_whole(const void *p) {
    return ((const struct block *)p)->mark == MARK;
}

static inline void block_mark(void *p) {
    ((struct block *)p)->mark = MARK;
}

/* Does a carved block begin at this offset? size × inverse = 2^64 + rest, with 0 < rest ≤ size. So
 * for block n, at offset n × size, the product is n × rest (modulo 2^64), and `limit` is 1 more
 * than that of the last carved block. An offset between two blocks, or before the first, gives at
 * least inverse - |offset / size| × rest, which exceeds any limit as long as size ≤ 2^15 and
 * |offset| < 2^48. After Lemire, Kaser, Kurz, "Faster remainder by direct computation" (2019). */
static_assert(SMALL <= 1 << 15, "the test of a block's beginning needs that");
static inline bool offset_begins(const struct page *page, uint64_t offset) {
    return offset * page->inverse < page->limit;
}

static void page_set_carved(struct page *page, uint32_t carved) {
    page->carved = (uint16_t)carved;
    page->limit = carved ? (carved - 1) * (page->inverse * page->size) + 1 : 0;
}

/* Does a carved block begin at p? */
static inline bool page_begins(const struct page *page, const void *p) {
    return offset_begins(page, (uint64_t)((const char *)p - page->start));
}

/* The same, and the page's owner has that tag: one test for both. Tags are multiples of TAG, and a
 * page is shorter, so a wrong tag moves the offset out of it. A thread without a heap has tag 0.
 * Pages of several granules bear the tag NOBODY, because their places have to be shifted, which
 * free's hot path does not do. */
static const uintptr_t TAG = 1ul << 20, NOBODY = -(1ul << 20);
static inline bool page_begins_for(const struct page *page, const void *p, uintptr_t tag) {
    uintptr_t shift = page->origin - tag;
    __asm__("" : "+r"(shift)); /* this order of the additions saves an instruction */
    return offset_begins(page, (uintptr_t)p + shift);
}

static inline char *page_block(const struct page *page, uint16_t place) {
    return page->base + ((size_t)place << page->shift);
}

static inline uint16_t page_place(const struct page *page, const void *p) {
    return (uint16_t)((size_t)((const char *)p - page->start) >> page->shift);
}

/* The stack of free blocks: `top` points to the uppermost; stack[1] to stack[count - 1] hold the
 * places of the others, the lowest first. So malloc knows its block at once and reads the stack
 * only for the next one; a thread that frees and allocates by turns uses one word of it. stack[0]
 * is written and read, but its value never matters.
 *
 *      three free blocks, a, b, c (count == 3)       stack: │ - │ a │ b │   │ …        top: c
 *
 * A signal handler may fork between any two stores, and the child then inherits the page as it is.
 * At worst a block is missing from it: a push marks the block first and raises `count` last, and a
 * pop lowers `count` first and removes the mark last. */
static inline void page_push(struct page *page, void *p, uint16_t below) {
    block_mark(p);
    atomic_signal_fence(memory_order_seq_cst);
    page->stack[page->count] = below;
    page->top = p;
    atomic_signal_fence(memory_order_seq_cst);
    page->count++;
}

/* Takes the uppermost block; NULL if there is none, or if it lost its mark. */
static inline void *page_pop(struct page *page, unsigned shift) {
    struct block *b = page->top;
    __asm__("" : "+r"(b)); /* this order of the loads saves an instruction */
    size_t count;
    if (unlikely(__builtin_sub_overflow(page->count, 1, &count)))
        return NULL;
    if (unlikely(b->mark != MARK))
        return NULL;
    page->count = count;
    atomic_signal_fence(memory_order_seq_cst);
    page->top = (struct block *)(page->base + ((size_t)page->stack[count] << shift));
    atomic_signal_fence(memory_order_seq_cst);
    b->mark = 0; /* a live block bears no mark */
    return b;
}

/* The end of the array `stack`. Places of blocks that other threads freed grow down from here. The
 * array has one entry more than the page has blocks, because stack[0] holds no place. */
static inline uint16_t *page_far_end(struct page *page) {
    return page->stack + page->capacity + 1;
}

/* The places of all `count` free blocks, that of `top` included. */
static inline const uint16_t *page_places(struct page *page) {
    if (page->count)
        page->stack[page->count] = page_place(page, page->top);
    return page->stack + 1;
}

static inline bool page_is_purged(const struct page *page, size_t piece) {
    return page->purged >> piece & 1;
}

/* ── lists of pages ────────────────────────────────────────────────────────── */

static void list_push(struct page **head, struct page *page) {
    page->prev = NULL;
    page->next = *head;
    if (*head)
        (*head)->prev = page;
    *head = page;
}

static void list_remove(struct page **head, struct page *page) {
    *(page->prev ? &page->prev->next : head) = page->next;
    if (page->next)
        page->next->prev = page->prev;
}
