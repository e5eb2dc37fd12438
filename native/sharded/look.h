/* look.h: describing the heap (walk, stats) and verifying it (check).
 *
 * A thread sees its own pages, and those of threads that are no more, block by block.
 * Pages that other threads work with are described by their records: how many blocks
 * live, as of the last time that their owner was in the slow path.
 *
 * Locking: takes the region's lock, so that no run comes or goes.
 */
#pragma once

#include "../snapshot.h"
#include "owner.h"

/* May the page be read block by block: does nobody work with it now? */
static bool page_is_still(struct page *page) {
    return page->home == self || heap_is_left(page->home);
}

/* One bit for each block of a page. */
struct marks {
    uint64_t bits[GRANULE / ALIGNMENT / 64];
};

static bool marked(const struct marks *marks, uint32_t i) { return marks->bits[i / 64] >> i % 64 & 1; }
static void mark(struct marks *marks, size_t i) { marks->bits[i / 64] |= 1ull << i % 64; }

/* Marks the blocks in a list, until one does not belong there. A message ends it. */
static void page_mark(struct page *page, struct block *b, uint32_t most, struct marks *marks) {
    while (most-- && page_holds(page, b)) {
        struct block seen = *(volatile struct block *)b;
        if (!block_is_linked(&seen, page) && !block_is_message(&seen, page))
            return;
        mark(marks, (size_t)((char *)b - page_start(page)) / page->size);
        b = seen.next;
    }
}

/* Marks what other threads hold of this page, to send it home. What waits there is not
 * handed out before its owner takes it back, and that is us. */
static void page_mark_remote(struct page *page, struct marks *marks) {
    for (struct heap *h = heap.heaps; h; h = h->next) {
        struct collected *c = collected_of(h, page);
        if (c->page == page)
            page_mark(page, c->head, c->count, marks);
        struct outgoing *o = outgoing_to(h, page->home);
        struct block *m = o->to == page->home ? o->first : NULL;
        for (uint32_t most = SENT_AT_ONCE; m && most > 0; most--) {
            uintptr_t word;
            struct page *of = message_read(page->home, m, &word);
            if (!of)
                break;
            if (of == page)
                page_mark(page, message_head(word, page), message_count(word), marks);
            m = message_next(word);
        }
    }
}

/* Of a page that another thread works with, its records are all that can be read:
 * how many blocks live, not which. They are shown as if they were the first ones. */
static void page_snapshot(struct page *page, struct snapshot *out) {
    struct marks frees = {0}, remote = {0};
    size_t size = page->size;
    char *start = page_start(page);
    uint32_t extended = atomic_load_explicit((_Atomic(uint16_t) *)&page->extended,
                                             memory_order_relaxed); /* its owner may be at work */
    uint32_t budget = page->budget;
    uint32_t live = page->listed && budget <= extended ? budget : extended;
    if (page_is_still(page)) {
        page_mark(page, page->free, extended, &frees);
        page_mark(page, page->back, extended, &frees);
        page_mark_remote(page, &remote);
    } else {
        for (uint32_t i = live; i < extended; i++)
            mark(&frees, i);
    }
    for (uint32_t i = 0; i < extended; i++) {
        enum libmalloc_kind kind = marked(&frees, i)    ? LIBMALLOC_FREE
                                   : marked(&remote, i) ? LIBMALLOC_REMOTE
                                                        : LIBMALLOC_LIVE;
        snapshot_block(out, kind, start + i * size, 0, size, size);
    }
    snapshot_fresh(out, start + extended * size,
                   start + ((size_t)page->granules << GRANULE_BITS));
}

static void run_snapshot(struct page *run, void *out) {
    char *start = page_start(run);
    size_t length = (size_t)run->granules << GRANULE_BITS;
    if (run->kind == PAGE_FREE) {
        snapshot_add(
            out, (struct libmalloc_chunk){.start = start,
                                          .extent = length,
                                          .kind = run->dirty ? LIBMALLOC_CACHED : LIBMALLOC_FRESH});
        return;
    }
    if (run->kind == PAGE_KEPT) {
        snapshot_add(out, (struct libmalloc_chunk){
                              .start = start, .extent = length, .kind = LIBMALLOC_CACHED});
        return;
    }
    bool small = run->kind == PAGE_SMALL;
    snapshot_add(out, (struct libmalloc_chunk){.start = start, .extent = length,
                                               .kind = LIBMALLOC_SPAN,
                                               .size_class = small ? run->size : 0,
                                               .owner = (uintptr_t)run->home});
    if (small)
        page_snapshot(run, out);
    else
        snapshot_block(out, LIBMALLOC_LIVE, start, 0, length, 0);
}

static void runs_visit(struct area *a, void (*visit)(struct page *, void *), void *arg) {
    for (char *p = a->start; p < a->next;) {
        struct page *run = page_of(p);
        visit(run, arg);
        p += (size_t)run->granules << GRANULE_BITS;
    }
}

static void area_snapshot(struct area *a, struct snapshot *out) {
    if (a->next == a->start)
        return;
    snapshot_region(out, a->start, (size_t)(a->committed - a->start));
    runs_visit(a, run_snapshot, out);
    snapshot_fresh(out, a->next, a->committed);
}

/* The huge blocks from `at` up to `end`. */
static void huges_snapshot(char *at, char *end, struct snapshot *out) {
    for (;;) { /* the next in address order: they are few */
        struct huge *next = NULL;
        for (unsigned i = 0; i < HUGE_BUCKETS; i++)
            for (struct huge *block = heap.huges.bucket[i]; block; block = block->next)
                if (block->start >= at && block->start < end && (!next || block->start < next->start))
                    next = block;
        if (!next)
            return;
        at = next->start + next->length;
        snapshot_region(out, next->start, next->length);
        snapshot_add(out, (struct libmalloc_chunk){
                              .start = next->start, .extent = next->length, .kind = LIBMALLOC_SPAN});
        snapshot_block(out, LIBMALLOC_LIVE, next->start, 0, next->length, 0);
    }
}

/* First, everything on its way goes home that this thread can send there: from its own
 * heap and those that were left, which may lie in each other's inboxes. */
static void heaps_settle(void) {
    for (int i = 0; i < 2; i++) {
        heaps_left(heap_settle);
        if (self != &heap_none)
            heap_settle(self);
    }
}

static void heap_snapshot(struct snapshot *out) {
    heaps_settle();
    struct region *r = region_enter();
    for (unsigned i = PAGES; i < AREAS; i++) /* in address order: lower than any mapping */
        area_snapshot(&r->areas[i], out);
    huges_snapshot(NULL, near, out);
    area_snapshot(&r->areas[NEAR], out);
    huges_snapshot(near, (char *)UINTPTR_MAX, out);
    region_leave(r);
}

static void page_verify(struct page *page, struct findings *out) {
    struct marks frees = {0};
    uint32_t count = 0, listed = 0;
    void *start = page_start(page);
    struct block *lists[] = {page->free, page->back ? page->back : &list_end};
    for (unsigned i = 0; i < 2; i++) {
        struct block *end = list_follow(page, lists[i], &listed);
        expect(out, end == &list_end, "page %p: the free block %p was written to after its free, "
                                      "or comes twice in its list", start, (void *)end);
        page_mark(page, lists[i], page->extended, &frees);
        if (end != &list_end)
            return;
    }
    for (unsigned i = 0; i < GRANULE / ALIGNMENT / 64; i++)
        count += (uint32_t)__builtin_popcountll(frees.bits[i]);
    expect(out, count == listed, "page %p: %u blocks in its lists, %u of them twice", start, listed,
           listed - count);
    if (page->home->current[page->class] == page)
        return;
    uint32_t whole = page->listed ? page->extended : page_wanted(page);
    expect(out, page->budget + count == whole,
           "page %p: a budget of %u and %u free are not %u blocks", start, page->budget, count,
           whole);
}

static void run_verify(struct page *run, void *out) {
    uint32_t length = run->granules;
    if (run->kind == PAGE_FREE)
        expect(out,
               run[length - 1].kind == PAGE_FREE && run[length - 1].granules == length &&
                   run[length].kind != PAGE_FREE,
               "free run %p: its ends disagree, or it is not merged", (void *)page_start(run));
    else if (run->kind == PAGE_SMALL && page_is_still(run))
        page_verify(run, out);
    else
        expect(out,
               run->kind == PAGE_SMALL || run->kind == PAGE_LARGE || run->kind == PAGE_KEPT,
               "run %p: of no known kind",
               (void *)page_start(run));
}

static void heap_verify(struct findings *out) {
    heaps_settle();
    struct region *r = region_enter();
    for (unsigned i = 0; i < AREAS; i++)
        runs_visit(&r->areas[i], run_verify, out);
    region_leave(r);
}
