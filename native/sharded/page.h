/* page.h: the record of a page, and the table that leads from any pointer to it.
 *
 *      a pointer:   ┌ window ┬──── granule ────┬─ offset ─┐
 *                   │  of 2 TiB                │  64 KiB  │
 *                            └──┬──────────────┘
 *      table ──────────────┬────▼───┬─────────────────────
 *       0   0   0   0   0  │ struct │  0   0   0   0   0      a cache line for each
 *      ────────────────────┴ page ──┴─────────────────────    granule of the window
 *
 * The whole table is addresses only; memory is behind the part of it that describes
 * our region. All the rest reads as zero: a record without an owner. So free tests
 * neither for NULL nor for foreign pointers, they fail the test of the owner, and
 * any 64 bits at all lead into the table. Two addresses that differ by a multiple
 * of the window share a record; the region lies where no part of the program does
 * (region_place), and the slow way compares the whole address.
 */
#pragma once

#include "../die.h"
#include "../os.h"
#include "class.h"

enum {
    GRANULE_BITS = 16,
    GRANULE = 1 << GRANULE_BITS,
    RECORD_BITS = 6, /* a record is a cache line */
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

/* What is written into a free block: `check` is next + owner. It marks the block as
 * free, and a link that something else wrote does not match it. (Not next ^ owner, which
 * holds as well when both words are inverted.) */
struct block {
    uintptr_t check;
    struct block *next;
};

struct page {
    struct heap *owner;  /* who may use it the fast way; NULL unless small with room */
    struct block *free;  /* the list ends with &list_end */
    uint64_t inverse;    /* offset × inverse ≤ limit: a block in use begins there */
    uint64_t limit;      /* of a free run: since when it is, in ms */
    uint32_t budget;     /* frees until the page is empty; while current, more than that */
    uint32_t granules;   /* length of the run */
    uint32_t next, prev; /* in a list, by number; 0 is none */
    struct heap *home;   /* whose page it is, full or not */
    uint8_t kind, class;
    uint8_t dirty : 1;  /* of a run: may hold old data */
    uint8_t listed : 1; /* of a small page: in its heap's list of pages with room */
    uint8_t era;        /* of which region (a fork may begin a new one) */
    uint16_t capacity;  /* blocks in all */
    uint16_t extended;  /* blocks that were ever in the list; behind lies fresh memory */
};
static_assert(sizeof(struct page) == 1 << RECORD_BITS, "free computes its address by shifting");
static_assert(sizeof(struct block) == ALIGNMENT, "the smallest block holds a link");

/* The end of every list matches no owner, so a single comparison finds the end of a
 * list and a broken link. */
static struct block list_end;

/* Before the first call, everything is the one empty record. */
static struct page table_none;
static char *table = (char *)&table_none;
static uintptr_t table_mask;
static uintptr_t window; /* the address that the first record is about */

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
static inline bool page_holds(struct page *page, void *p) {
    return (size_t)((char *)p - page_start(page)) < (size_t)page->granules << GRANULE_BITS;
}

static inline bool block_looks_free(struct block *b, struct heap *owner) {
    return b->check - (uintptr_t)b->next == (uintptr_t)owner;
}

static inline void block_link(struct block *b, struct block *next, struct heap *owner) {
    b->next = next;
    b->check = (uintptr_t)next + (uintptr_t)owner;
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
