/* page.h: the record of a page, and the table that leads from any pointer to it.
 *
 *      a pointer:   ┌ window ┬──── granule ────┬─ offset ─┐
 *                   │ 128 TiB│                 │  64 KiB  │
 *                            └──┬──────────────┘
 *      table ──────────────┬────▼───┬─────────────────────
 *       0   0   0   0   0  │ struct │  0   0   0   0   0      two cache lines for each
 *      ────────────────────┴ page ──┴─────────────────────    granule of the window
 *
 * The whole table is addresses only; memory is behind the part of it that describes
 * our region. All the rest reads as zero: a record without a home. So free tests
 * neither for NULL nor for foreign pointers, they fail the test of the home, and
 * any 64 bits at all lead into the table. The window holds all addresses that a program
 * can have. Under an address-space limit it is smaller, and two addresses that differ by
 * a multiple of it share a record: then the region lies where no part of the program does
 * (region_place), and the slow way compares the whole address.
 */
#pragma once

#include "../die.h"
#include "../os.h"
#include "class.h"

enum {
    GRANULE_BITS = 16,
    GRANULE = 1 << GRANULE_BITS,
    RECORD_BITS = 7, /* a record is two cache lines */
    HUGE_PAGE = 2 << 20,
};

enum page_kind {
    PAGE_NONE,  /* not ours, or inside a large block */
    PAGE_SMALL, /* equal blocks of one class */
    PAGE_REST,  /* a further granule of a small page; `next` is its first */
    PAGE_LARGE, /* one block: the first granule of its run */
    PAGE_KEPT,  /* the same, freed, and kept by a thread for its next one */
    PAGE_FREE,  /* the first or the last granule of a free run */
    PAGE_GONE,  /* was in use once, and is inside a free run now */
};

/* What is written into a free block: `check` is next + the key of its page, whose upper
 * 16 bits are MARK. No address reaches up there, so a free block shows the mark, and free
 * looks at those two bytes alone: a load that narrow gets by with what the program wrote
 * last, where one of all eight bytes often waits for several smaller stores to arrive in
 * the cache. A link that something else wrote does not match the rest of the key, which
 * is random. (A sum: next ^ key would hold as well when both words are inverted.)
 *
 *        0                6    8               16
 *        ┌────────────────┬────┬────────────────┐
 *        │ check          ┊mark│ next           │
 *        └────────────────┴────┴────────────────┘
 */
enum { MARK = 0xa5c7 };

struct block {
    union {
        uintptr_t check;
        struct {
            uint16_t rest[3], mark;
        };
    };
    struct block *next;
};

/* In the first cache line is what any thread that frees has to read, and hardly anybody
 * writes; in the second what its owner writes at each call. In one line, every malloc of
 * the owner would take it away from those who free his blocks, and every free from him. */
struct page {
    struct heap *home;  /* whose page it is; NULL unless it is a small one */
    uint32_t inverse;   /* offset × inverse ≤ limit: a block in use begins there, */
    uint32_t limit;     /* if it begins in the page's first granule */
    uint32_t size;      /* of its blocks */
    uint32_t granules;  /* length of the run */
    uint64_t key;       /* of a free run: since when it is, in ms */
    uint8_t kind, class;
    bool dirty;         /* of a run: may hold old data */
    uint8_t era;        /* of which region (a fork may begin a new one) */
    uint16_t capacity;  /* blocks in all */
    uint16_t extended;  /* blocks that were ever in the list; behind lies fresh memory */
    _Alignas(64) struct block *free; /* the list ends with &list_end */
    struct block *back, *back_last; /* NULL, or blocks that came home: used when it has run out */
    uint32_t budget;     /* frees until something is to be done; while current, more */
    uint32_t next, prev; /* in a list, by number; 0 is none */
    bool listed;         /* in its heap's list of pages with room */
};
static_assert(sizeof(struct page) == 1 << RECORD_BITS, "free computes its address by shifting");
static_assert(sizeof(struct block) == ALIGNMENT, "the smallest block holds a link");

/* The end of every list matches no key, so a single comparison finds the end of a
 * list and a broken link. */
static struct block list_end;

/* Before the first call, everything is the one empty record. */
static struct page table_none;
static char *table = (char *)&table_none;
static uintptr_t table_mask;
static uintptr_t window; /* the address that the first record is about */
static uint64_t heap_secret; /* of which the pages' keys are made; the kernel's random bytes */

static inline struct page *page_of(void *p) {
    return (struct page *)(table + (((uintptr_t)p >> (GRANULE_BITS - RECORD_BITS)) & table_mask));
}

static inline struct page *page_at(uint32_t number) {
    return (struct page *)(table + ((uintptr_t)number << RECORD_BITS));
}
static inline uint32_t page_number(struct page *page) {
    return (uint32_t)((uintptr_t)((char *)page - table) >> RECORD_BITS);
}
static inline char *page_start(struct page *page) {
    return (char *)(window + ((uintptr_t)page_number(page) << GRANULE_BITS));
}

/* The whole address: page_of knows it up to a multiple of the window only. */
static inline bool page_holds(struct page *page, const void *p) {
    return (size_t)((const char *)p - page_start(page)) < (size_t)page->granules << GRANULE_BITS;
}

static inline bool block_is_linked(const struct block *b, const struct page *page) {
    return b->check - (uintptr_t)b->next == page->key;
}

static inline void block_link(struct block *b, struct block *next, const struct page *page) {
    b->next = next;
    b->check = (uintptr_t)next + page->key;
}

/* Spreads every bit over all. Source: the finalizer of splitmix64 (Steele, Lea, Flood,
 * "Fast splittable pseudorandom number generators", 2014). */
static inline uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* ── lists of pages ────────────────────────────────────────────────────────── */

static void list_push(uint32_t *head, struct page *page) {
    page->prev = 0;
    page->next = *head;
    if (*head)
        page_at(*head)->prev = page_number(page);
    *head = page_number(page);
}

static void list_remove(uint32_t *head, struct page *page) {
    *(page->prev ? &page_at(page->prev)->next : head) = page->next;
    if (page->next)
        page_at(page->next)->prev = page->prev;
}
