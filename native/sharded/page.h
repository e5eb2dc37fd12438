/* page.h: the record of a run of granules, the way from a pointer to it, and a free block.
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
 * The map is as long as the heap needs it (region.h), so far-apart addresses share an
 * entry. That does no harm, because the test of a block's beginning covers the whole
 * address: an address outside of the run fails it, and so does NULL.
 *
 * Which blocks of a page are free stands in its record, as offsets on a stack. Nothing that
 * malloc follows lies in a block: there is no link to forge, to leak or to write back, free
 * memory can go back to the kernel, and an offset leads nowhere but into its own page. The
 * records lie outside of the arenas, between guard pages, where no overflow reaches them.
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
    PAGE_GONE,  /* describes no memory (any more) */
    PAGE_SMALL, /* equal blocks of one class */
    PAGE_LARGE, /* one block */
    PAGE_KEPT,  /* the same, freed, and kept by a thread for its next one */
    PAGE_FREE,  /* a free run */
    PAGE_BUSY,  /* a run between two owners: being made, or being purged */
};

/* The word `remote` of a page: how many blocks other threads have freed. First they reserve
 * places at the far end of the stack, then they fill them, then they say so. */
enum {
    REMOTE_RESERVED = 1,       /* 16 bits of count */
    REMOTE_FILLED = 1 << 16,   /* 15 bits of count */
    REMOTE_COUNT = (1 << 15) - 1,
};
static const uint64_t
    REMOTE_PENDING = 1ul << 32, /* in its owner's list of pages with remote frees, or about to be */
    REMOTE_FULL = 1ul << 33,    /* the owner has handed out every block, and uses it no more */
    REMOTE_TAKEN = 1ul << 34;   /* somebody else found it empty and gave the run back */

/* In the first cache line is what any thread that frees has to read, and hardly anybody
 * writes; in the second what its owner writes at each call; the third is written by other
 * threads. In one line, every malloc of the owner would take it away from those who free
 * its blocks, and every free from the owner. */
struct page {
    struct heap *owner; /* NULL unless kind is PAGE_SMALL */
    char *start;
    uintptr_t origin;  /* the owner's tag less the start: see page_begins_for */
    uint64_t inverse;  /* offset × inverse < limit: a block in use begins there */
    uint64_t limit;
    uint32_t size;     /* of its blocks */
    uint32_t granules; /* length of the run */
    uint16_t capacity; /* blocks in all */
    uint16_t carved;   /* blocks that were ever on the stack; behind lies fresh memory */
    uint32_t kind;     /* swapped at a free: riscv64 has no instruction for less than four bytes */
    uint8_t class;
    uint8_t shift;     /* a place on the stack counts 1 << shift bytes */
    uint8_t era;       /* of which region (a fork may begin a new one) */
    uint8_t area;      /* what kind of memory it is */
    bool dirty;        /* of a run: may hold old data */

    _Alignas(64) char *base; /* the start again; of a large block, its address */
    struct block *top;       /* the free block that is next, */
    size_t count;            /* and how many there are, with this one */
    struct page *next, *prev; /* in a list of pages or of free runs */
    uint32_t budget;         /* frees until something is to be done. Not beside `count`: both
                              * would be changed by one vector, in four instructions more */
    bool listed, sparse;     /* in its heap's list of pages with room; of that, nearly empty */
    uint16_t goal;           /* `count` when the budget is spent, of a page that is not current */
    struct page *younger, *older; /* of free runs: those that keep their pages, by age */

    _Alignas(64) _Atomic(uint64_t) remote;
    struct page *pending; /* the next page with remote frees of the same owner */
    uint64_t gone;        /* pieces of which the memory went to the kernel (sweep.h) */
    uint16_t seen, swept; /* `count` when a sweep came by; when it gave pieces back */
    _Alignas(64) uint16_t stack[];
};
static_assert(sizeof(struct page) == 3 * 64, "three cache lines before the stack");

/* A record that describes nothing, for heaps and classes that have none. */
static struct page page_none;
#define NONE &page_none

/* ── the map ───────────────────────────────────────────────────────────────── */

enum { MAP_FIRST = 64 }; /* granules: enough for the area beside our own variables */

/* An entry is the distance from the map to a record. The map begins with a record that describes
 * nothing, so an entry of 0 leads there, and a fresh map is memory that nobody has touched. */
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

/* A longer map takes its place as the heap grows; the old one stays, for threads that are
 * reading it. A thread that has a pointer from malloc has the map that knows it, too: publishing
 * it happened before that malloc returned. */
static _Atomic(struct map *) page_map = (struct map *)&map_first;

static inline struct page *page_of(const void *p) {
    struct map *m = atomic_load_explicit(&page_map, memory_order_relaxed);
    return (struct page *)((char *)m + m->entry[(uintptr_t)p >> GRANULE_BITS & m->mask]);
}

/* The kind of a page that another thread may be making: what it says about the record was written
 * before it was. Costs nothing on x86-64, which keeps stores and loads in order. */
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

static inline bool page_holds(const struct page *page, const void *p) {
    return (size_t)((const char *)p - page->start) < page_length(page);
}

/* ── blocks ────────────────────────────────────────────────────────────────── */

/* What a free block begins with, so that free can suspect one that is free already, and malloc
 * sees that one was written to. Sign extension makes eight bytes of a constant of four: a
 * comparison takes one instruction. free looks at the lower half alone: a load that narrow is
 * served from what the program stored last, where one of eight bytes often waits for several
 * smaller stores to arrive in the cache. */
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

/* The offset of block n is n × size, and size × inverse is `rest` more than 2^64, at most
 * `size`. So n blocks give n × rest, while everything between two blocks gives at least
 * inverse - (offset / size) × rest, which is more than any bound as long as size ≤ 2^15 and
 * |offset| < 2^48; so do addresses before the start. Source of the test: Lemire, Kaser, Kurz,
 * "Faster remainder by direct computation" (2019). */
static_assert(SMALL <= 1 << 15, "the test of a block's beginning needs that");
static inline bool offset_begins(const struct page *page, uint64_t offset) {
    return offset * page->inverse < page->limit;
}

static void page_set_carved(struct page *page, uint32_t carved) {
    page->carved = (uint16_t)carved;
    page->limit = carved ? (carved - 1) * (page->inverse * page->size) + 1 : 0;
}

/* Does a block in use begin at p? For any page. */
static inline bool page_begins(const struct page *page, const void *p) {
    return offset_begins(page, (uint64_t)((const char *)p - page->start));
}

/* The same, and its owner has that tag: one test for both. Tags are multiples of TAG, so any other
 * than the owner's moves the offset out of the run. A thread without a heap has tag 0. Pages of
 * several granules belong to NOBODY here: their places are shifted, which free's short way does
 * not do. */
static const uintptr_t TAG = 1ul << 20, NOBODY = -(1ul << 20);
static inline bool page_begins_for(const struct page *page, const void *p, uintptr_t tag) {
    uintptr_t shift = page->origin - tag;
    __asm__("" : "+r"(shift)); /* likewise */
    return offset_begins(page, (uintptr_t)p + shift);
}

static inline char *page_block(const struct page *page, uint16_t place) {
    return page->base + ((size_t)place << page->shift);
}

static inline uint16_t page_place(const struct page *page, const void *p) {
    return (uint16_t)((size_t)((const char *)p - page->start) >> page->shift);
}

/* The stack of free blocks: the uppermost is `top`, the places of those below it are stack[1] and
 * so on. So malloc knows its block at once, and reads the stack for the next one only; what a
 * thread frees and allocates by turns goes through one word. stack[0] is never a block.
 *
 *      count == 3       stack: │ - │ a │ b │   │ …        top: c
 *
 * A signal handler may fork between any two stores, and the child then has the page: at worst a
 * block is missing from it. So a block is marked before it is on the stack, `count` says so last,
 * and of a block that is taken, first. */
static inline void page_push(struct page *page, void *p, uint16_t below) {
    block_mark(p);
    atomic_signal_fence(memory_order_seq_cst);
    page->stack[page->count] = below;
    page->top = p;
    atomic_signal_fence(memory_order_seq_cst);
    page->count++;
}

/* The uppermost block, if it is still marked. */
static inline void *page_pop(struct page *page, unsigned shift) {
    struct block *b = page->top;
    __asm__("" : "+r"(b)); /* in this order it takes one instruction less */
    size_t count;
    if (unlikely(__builtin_sub_overflow(page->count, 1, &count)))
        return NULL;
    if (unlikely(b->mark != MARK))
        return NULL;
    page->count = count;
    atomic_signal_fence(memory_order_seq_cst);
    b->mark = 0; /* a live block bears no mark */
    page->top = (struct block *)(page->base + ((size_t)page->stack[count] << shift));
    return b;
}

/* At the other end of the stack are those that other threads freed. One entry more than there are
 * blocks: the first. */
static inline uint16_t *page_far_end(struct page *page) {
    return page->stack + page->capacity + 1;
}

/* The places of all free blocks, `count` of them. */
static inline const uint16_t *page_places(struct page *page) {
    if (page->count)
        page->stack[page->count] = page_place(page, page->top);
    return page->stack + 1;
}

static inline bool page_has_gone(const struct page *page, size_t piece) {
    return page->gone >> piece & 1;
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
