/* owner.h: a heap for every thread, its pages, and how blocks come home.
 *
 *      thread A                              thread B frees a block of A's
 *      heap A                                heap B
 *      ├ current[class] ─> page              ├ out[hash of A] ── 64 blocks at a time ─┐
 *      ├ partial[class] ─> page ─> page      │   (a list, linked through the blocks)  │
 *      └ inbox <─────────────────────────────────── one compare-and-swap ────────────-┘
 *
 * Only the owner touches the records and free lists of its pages. What other threads
 * free waits in the blocks themselves; it is never handed out by them, so two threads
 * do not come to share a cache line this way. The owner empties its inbox whenever
 * one of its pages runs out. A thread that ends leaves its heap, whole, to the next
 * one; calls that come after that are served by a heap behind a lock.
 *
 *      fresh ── page_extend ──> in the free list ── malloc ──> live ── free ─┐
 *                                     ▲                                      │
 *                                     └──────────────────────────────────────┘
 *
 * A page's budget counts frees, down to the next moment that matters: malloc counts
 * nothing. While a page is current its budget is out of reach. It stops being current
 * when its list has run out: then all its blocks are live, and the budget counts down to
 * when it is worthwhile to use it again (page_turn), and from then on to when it is empty.
 *
 * What others freed comes home behind all that: into the list `back`, which becomes the free
 * list when that has run out. So blocks go round in the order in which they lie in memory,
 * and processors fetch the next one ahead: half of the time of whoever frees them elsewhere.
 *
 *      live + blocks in both lists = extended            for every page
 *      budget = live                                     for pages in the list `partial`
 *      budget + blocks in both lists = a sixteenth       for pages that were full
 */
#pragma once

#include <stdatomic.h>

#include "region.h"

enum {
    CONFIRMATIONS = 5, /* of a double free by a thread that does not own the page */
    LOOKS = 4,         /* heaps that are looked at to find one that was left */
    COLLECTED = 32,    /* pages of others for which a thread collects blocks */
    OUTGOING = 16,     /* other heaps to which it sends them */
    SENT_AT_ONCE = 64, /* blocks, so that an atomic operation is shared by so many */
    MESSAGES = 256,    /* that are put in order at a time, when they arrive */
    ENDLESS = 1 << 30, /* budget of a current page */
    KEPT = 16,         /* granules of large blocks that a thread keeps */
    LARGE_HEAP = 128,  /* pages of a heap from which on it grows in huge pages */
    GROWS = 2,         /* fresh pages of a class after which it will fill the next one */
    FEW = 24,          /* pages of a heap in which classes share */
    AT_ONCE = 16384,   /* bytes that enter the list of a page that was in use before */
    WORTHWHILE = 16,   /* a page is used again when a sixteenth of it is free */
};

/* Blocks of one page of another heap. */
struct collected {
    struct page *page;
    struct block *head, *tail;
    uint32_t count, most; /* so many go at once */
};

/* Messages to one other heap. */
struct outgoing {
    struct heap *to;
    struct block *first, *last;
    uint32_t count; /* blocks in them */
};

struct heap {
    struct page *direct[DIRECT / 16 + 1]; /* current page by size / 16, rounded up */
    struct page *current[CLASSES];
    uint32_t partial[CLASSES]; /* pages with free blocks that are not current */
    uint32_t fresh[CLASSES];   /* the page that has blocks never handed out, in use or not */
    uint8_t made[CLASSES];     /* fresh pages, up to GROWS */
    uint32_t pages;            /* how many in all */
    uint32_t kept[KEPT];       /* a freed run of each length, by number; 0 is none */
    uint32_t kept_granules;    /* in them */
    bool busy;                 /* in the slow path: after a fork, not to be trusted */
    uint8_t lane;              /* of the area PAGES */
    pid_t process, thread;     /* its owner; 0: it was left */
    struct heap *next;         /* of all heaps */
    _Alignas(64) _Atomic(struct block *) inbox; /* the line that other threads write */
    _Alignas(64) struct collected collected[COLLECTED];
    struct outgoing out[OUTGOING];
};

/* A page without blocks, for heaps and classes that have none yet: the fast path of
 * malloc needs no test for it. */
static struct page page_none = {.free = &list_end, .key = (uint64_t)MARK << 48};
#define NONE &page_none

/* A signal handler may fork between any two stores: the compiler leaves this one in its place. */
static inline void heap_busy(struct heap *h, bool busy) {
    atomic_signal_fence(memory_order_seq_cst);
    h->busy = busy;
    atomic_signal_fence(memory_order_seq_cst);
}

/* What large heaps have in huge pages will soon be full. */
static enum area_kind heap_area(const struct heap *h) {
    return h->pages >= LARGE_HEAP ? DENSE : PAGES + h->lane;
}

/* ── pages ─────────────────────────────────────────────────────────────────── */

static struct page *page_first(struct page *page) {
    return page->kind == PAGE_REST ? page_at(page->next) : page;
}

/* The offset of the block number n is n × size, and size × inverse is `rest` more than
 * 2^32, at most `size`. So n blocks give n × rest, less than 2^16 in the first granule,
 * and everything between two blocks at least inverse - rest - 2^16, which is more, as
 * long as size ≤ 2^15. Source of the test: Lemire, Kaser, Kurz, "Faster remainder by
 * direct computation" (2019). */
static_assert(SMALL <= 1 << 15, "the test of a block's beginning needs that");
static void page_set_extended(struct page *page, uint32_t extended) {
    uint32_t size = page->size;
    uint32_t first = (GRANULE - 1) / size + 1; /* blocks that begin in the first granule */
    page->extended = (uint16_t)extended;
    page->limit = ((extended < first ? extended : first) - 1) * (page->inverse * size);
}

/* Puts the next fresh blocks into the list: as many as lie on a page of memory, so
 * that nothing is touched much before it is used; some more where it was in use before. */
static bool page_extend(struct page *page) {
    size_t size = page->size;
    uint32_t room = (uint32_t)page->capacity - page->extended;
    uint32_t reach = page->dirty ? AT_ONCE : 4096, count = size < reach ? reach / page->size : 1;
    if (count > room)
        count = room;
    if (!count)
        return false;
    char *first = page_start(page) + page->extended * size;
    for (uint32_t i = count; i-- > 0; page->free = (struct block *)(first + i * size))
        block_link((struct block *)(first + i * size), page->free, page);
    page_set_extended(page, page->extended + count);
    return true;
}

static void page_open(struct page *page, struct heap *h, unsigned class) {
    size_t size = class_size(class);
    page->class = (uint8_t)class;
    page->size = (uint32_t)size;
    page->home = h;
    page->free = &list_end;
    page->back = NULL;
    page->listed = false;
    page->inverse = (uint32_t)(UINT32_MAX / size + 1 + !(size & (size - 1)));
    page->key = (uint64_t)MARK << 48 | mix(heap_secret + page_number(page)) >> 18;
    page->capacity = (uint16_t)(((size_t)page->granules << GRANULE_BITS) / size);
    page->extended = 0;
    page->limit = 0;
    atomic_signal_fence(memory_order_release); /* another thread's walk reads the rest then */
    page->kind = PAGE_SMALL;
    for (uint32_t i = 1; i < page->granules; i++) {
        page[i].kind = PAGE_REST;
        page[i].home = NULL;
        page[i].next = page_number(page);
    }
}

static void page_drop(struct page *page);

/* A page without a live block: all of them look free, unless one was written to after
 * its free, or freed twice with a write in between, which no list tells. The last chance
 * to notice, and cheap in this order: the lines come one after the other. */
static void page_verify_empty(struct page *page) {
    char *start = page_start(page);
    size_t size = page->size;
    for (uint32_t i = 0; i < page->extended; i++)
        must(block_is_linked((struct block *)(start + i * size), page), "free",
             "the free block %p was written to after its free", (void *)(start + i * size));
}

static uint32_t page_wanted(const struct page *page) {
    uint32_t wanted = page->extended / WORTHWHILE;
    return wanted ? wanted : 1;
}

/* It has run out. A full page is not used again for a single block: each time it ran out
 * would cost the slow path. So the budget first counts down to when it is worthwhile, then
 * to when it is empty. */
static void page_fill(struct page *page) {
    page->listed = false;
    page->budget = page_wanted(page);
}

/* The budget is spent. True when the page is gone then. */
static bool page_turn(struct heap *h, struct page *page) {
    if (h->current[page->class] == page) {
        page->budget = ENDLESS;
    } else if (!page->listed) {
        page->listed = true;
        page->budget = page->extended - page_wanted(page);
        list_push(&h->partial[page->class], page);
        if (page->budget == 0)
            return page_turn(h, page);
    } else {
        list_remove(&h->partial[page->class], page);
        page_verify_empty(page);
        page_drop(page);
        return true;
    }
    return false;
}

/* So many blocks more are free. */
static void page_count(struct heap *h, struct page *page, uint32_t count) {
    while (count >= page->budget) {
        count -= page->budget;
        if (page_turn(h, page))
            return;
    }
    page->budget -= count;
}

/* The blocks from `head` to `tail`, which are linked already, have come home. They are handed
 * out again in the order in which they were freed. Mostly that is the order in which they lie
 * in memory, so that processors fetch the next one ahead; a stack would shuffle them more and
 * more. */
static void page_take_back(struct heap *h, struct page *page, struct block *head,
                           struct block *tail, uint32_t count) {
    block_link(tail, &list_end, page);
    if (page->back) {
        must(block_is_linked(page->back_last, page), "free", "%p was written to after its free",
             (void *)page->back_last);
        block_link(page->back_last, head, page);
    } else {
        page->back = head;
    }
    page->back_last = tail;
    page_count(h, page, count);
}

/* Is there a block in its list, if need be of those that came home? */
static bool page_ready(struct page *page) {
    if (page->free == &list_end && page->back) {
        page->free = page->back;
        page->back = NULL;
    }
    return page->free != &list_end;
}

/* ── blocks that other threads free ────────────────────────────────────────── */

/* Blocks of one page, collected by a thread that does not own it, travel as one
 * message: linked as they will lie in the owner's list, so that the owner touches
 * only the last one, which carries the message. That one is marked as free, too, wherever
 * it is on its way, and its check is made of all bits. In the place of its link:
 *
 *      63   57 56                 43 42                    0
 *      ┌──────┬─────────────────────┬──────────────────────┐   places and addresses
 *      │ how  │ place of the first  │ the next message of  │   divided by 16
 *      │ many │ one in the page     │ the same heap        │
 *      └──────┴─────────────────────┴──────────────────────┘
 */
enum { NEXT_BITS = 43, PLACE_BITS = 14 };
static_assert(SENT_AT_ONCE < 128, "the count has seven bits");

static inline struct block *message_next(uintptr_t word) {
    return (struct block *)((word & ((1ul << NEXT_BITS) - 1)) * ALIGNMENT);
}
static inline struct block *message_head(uintptr_t word, struct page *page) {
    size_t place = word >> NEXT_BITS & ((1u << PLACE_BITS) - 1);
    return (struct block *)(page_start(page) + place * ALIGNMENT);
}
static inline uint32_t message_count(uintptr_t word) {
    return (uint32_t)(word >> (NEXT_BITS + PLACE_BITS));
}

static inline uint64_t message_check(uintptr_t word, const struct page *page) {
    return (uint64_t)MARK << 48 | mix(word ^ page->key) >> 16;
}

static inline bool block_is_message(const struct block *b, const struct page *page) {
    return b->check == message_check((uintptr_t)b->next, page);
}

static inline bool block_looks_free(const struct block *b, const struct page *page) {
    return b->mark == MARK && (block_is_linked(b, page) || block_is_message(b, page));
}

static void message_set(struct block *m, struct page *page, uintptr_t word) {
    m->next = (struct block *)word;
    m->check = message_check(word, page);
}

/* Blocks of a page from `head` to `m`; `next` is the message that comes after it. */
static void message_write(struct block *m, struct page *page, struct block *head, uint32_t count,
                          struct block *next) {
    uintptr_t place = (uintptr_t)((char *)head - page_start(page)) / ALIGNMENT;
    message_set(m, page, (uintptr_t)next / ALIGNMENT | place << NEXT_BITS |
                             (uintptr_t)count << (NEXT_BITS + PLACE_BITS));
}

static void message_follow(struct block *m, struct block *next) {
    uintptr_t word = (uintptr_t)m->next >> NEXT_BITS << NEXT_BITS;
    message_set(m, page_first(page_of(m)), word | (uintptr_t)next / ALIGNMENT);
}

static void inbox_push(struct heap *to, struct block *first, struct block *last) {
    must(block_is_message(last, page_first(page_of(last))), "free",
         "%p was written to after its free", (void *)last);
    struct block *old = atomic_load_explicit(&to->inbox, memory_order_relaxed);
    do
        message_follow(last, old);
    while (!atomic_compare_exchange_weak_explicit(&to->inbox, &old, first, memory_order_release,
                                                  memory_order_relaxed));
}

/* The page of a message to `to`, and its word; NULL if that is none (any more): what it
 * says lies in freed memory, so believe none of it unseen. */
static struct page *message_read(struct heap *to, const struct block *m, uintptr_t *word) {
    struct page *page = page_first(page_of((void *)m));
    if (page->home != to || !page_holds(page, m))
        return NULL;
    struct block seen = *(const volatile struct block *)m;
    *word = (uintptr_t)seen.next;
    return block_is_message(&seen, page) && page_holds(page, message_head(*word, page)) ? page
                                                                                       : NULL;
}

/* The newest message lies on top, and what was freed first is to be handed out first. */
static void inbox_empty(struct heap *h) {
    if (likely(!atomic_load_explicit(&h->inbox, memory_order_relaxed)))
        return;
    struct block *m = atomic_exchange_explicit(&h->inbox, NULL, memory_order_acquire);
    struct block *taken[MESSAGES];
    while (m) {
        unsigned n = 0;
        for (uintptr_t word; m && n < MESSAGES; m = message_next(word)) {
            struct page *page = message_read(h, m, &word);
            must(page && message_count(word) <= page->extended, "free",
                 "%p was written to after its free", (void *)m);
            taken[n++] = m;
        }
        while (n-- > 0) {
            struct page *page = page_first(page_of(taken[n]));
            uintptr_t word = (uintptr_t)taken[n]->next;
            page_take_back(h, page, message_head(word, page), taken[n], message_count(word));
        }
    }
}

/* A single block as a message. */
static void message_send(struct page *page, struct block *b) {
    message_write(b, page, b, 1, NULL);
    inbox_push(page->home, b, b);
}

static void outgoing_send(struct outgoing *o) {
    if (o->first)
        inbox_push(o->to, o->first, o->last);
    o->first = o->last = NULL;
    o->count = 0;
}

static struct outgoing *outgoing_to(struct heap *h, struct heap *to) {
    return &h->out[((uintptr_t)to / sizeof(struct heap)) % OUTGOING];
}

/* What was collected is a message now; when that is enough for its owner, all of his go. */
static void collected_close(struct heap *h, struct collected *c) {
    if (!c->page)
        return;
    struct heap *to = c->page->home;
    struct outgoing *o = outgoing_to(h, to);
    if (unlikely(o->to != to)) {
        outgoing_send(o);
        o->to = to;
    }
    message_write(c->tail, c->page, c->head, c->count, o->first);
    c->page = NULL;
    o->first = c->tail;
    if (!o->last)
        o->last = c->tail;
    if ((o->count += c->count) >= SENT_AT_ONCE)
        outgoing_send(o);
}

static void outgoing_send_all(struct heap *h) {
    for (unsigned i = 0; i < COLLECTED; i++)
        collected_close(h, &h->collected[i]);
    for (unsigned i = 0; i < OUTGOING; i++)
        outgoing_send(&h->out[i]);
}

static inline struct collected *collected_of(struct heap *h, struct page *page) {
    return &h->collected[(uintptr_t)page / sizeof(struct page) % COLLECTED];
}

static __attribute__((noinline)) void collect_last(struct heap *h, struct collected *c) {
    collected_close(h, c);
    heap_busy(h, false);
}

/* The first block of a page: what was collected of another one there makes room. */
static __attribute__((noinline)) void collect_first(struct heap *h, struct page *page,
                                                    struct block *b) {
    struct collected *c = collected_of(h, page);
    uint32_t most = page->capacity / 32u + 1;
    heap_busy(h, true);
    collected_close(h, c);
    block_link(b, NULL, page);
    *c = (struct collected){page, b, b, 1, most < SENT_AT_ONCE ? most : SENT_AT_ONCE};
    heap_busy(h, false);
}

/* Collects a block of another thread's page. */
static inline void collect(struct heap *h, struct page *page, struct block *b) {
    struct collected *c = collected_of(h, page);
    if (unlikely(c->page != page)) {
        collect_first(h, page, b);
        return;
    }
    heap_busy(h, true);
    block_link(b, NULL, page);
    block_link(c->tail, b, page);
    c->tail = b;
    if (unlikely(++c->count == c->most))
        collect_last(h, c);
    else
        heap_busy(h, false);
}

/* ── is it free already? ───────────────────────────────────────────────────── */

/* These follow lists that other threads may be at work with: what is read may be stale
 * by then, so each step is checked. */
static bool chain_lists(struct page *page, struct block *i, uint32_t most, struct block *b) {
    while (i != b && most-- && page_holds(page, i)) {
        struct block seen = *(volatile struct block *)i;
        if (!block_is_linked(&seen, page))
            return false;
        i = seen.next;
    }
    return i == b;
}

static bool messages_list(struct heap *to, struct block *m, struct block *b) {
    for (uint32_t seen = 0; m && seen < 1 << 20; seen++) {
        uintptr_t word;
        struct page *page = message_read(to, m, &word);
        if (!page || m == b || chain_lists(page, message_head(word, page), message_count(word), b))
            return page;
        m = message_next(word);
    }
    return false;
}

/* Does thread `h` hold the block, to send it home? */
static bool heap_sends(struct heap *h, struct page *page, struct block *b) {
    struct collected *c = collected_of(h, page);
    struct outgoing *o = outgoing_to(h, page->home);
    return (c->page == page && chain_lists(page, c->head, c->count, b)) ||
           (o->to == page->home && messages_list(o->to, o->first, b));
}
