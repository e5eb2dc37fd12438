/* look.h: describing the heap (walk, stats) and verifying it (check).
 *
 * A thread sees its own pages, and those of abandoned heaps, block by block. Pages that other
 * threads are using are described by their records: how many blocks are live, but not which.
 *
 * Locking: takes the region's lock, so that no run is allocated or freed meanwhile.
 */
#pragma once

#include "../base/snapshot.h"
#include "large.h"

/* Adopts every abandoned heap until heaps_inspect_end, so that this thread may read their pages. */
static void heaps_inspect(void) {
    for (struct heap *h = heap.heaps; h; h = h->next)
        h->inspected = h == self || life_acquire(h) == 0;
}

static void heaps_inspect_end(void) {
    for (struct heap *h = heap.heaps; h; h = h->next) {
        if (h->inspected && h != self)
            life_release(h);
        h->inspected = false;
    }
}

/* Adds the blocks of this page that other threads freed: those at its far end, and those in
 * batches. A running thread may change its batches while we read them, so a check, which must be
 * exact, reads only those of heaps that this thread holds (`exact`). */
static uint32_t blocks_add_remote(struct block_set *set, struct page *page, bool exact) {
    uint32_t filled = remote_stable(atomic_load_explicit(&page->remote, memory_order_acquire));
    uint32_t wrong = blocks_add(set, page, page_far_end(page) - filled, filled);
    for (struct heap *h = heap.newest; h; h = h->older) {
        if (exact && !h->inspected)
            continue;
        struct batch *b = batch_of(h, page);
        uint32_t left = b->left;
        if (b->page == page && left <= BATCH)
            wrong += blocks_add(set, page, b->place + left, BATCH - left);
    }
    return wrong;
}

/* The record of a page that another thread is using tells how many blocks are live, not which. So
 * the first blocks of the page are shown as the live ones. */
static void page_snapshot(struct page *page, struct snapshot *out) {
    struct block_set frees = {0}, remote = {0};
    size_t size = page->size;
    uint32_t carved = __atomic_load_n(&page->carved, __ATOMIC_RELAXED); /* may be changing */
    size_t count = __atomic_load_n(&page->count, __ATOMIC_RELAXED);
    if (page->owner->inspected) {
        blocks_add(&frees, page, page_places(page), count);
        blocks_add_remote(&remote, page, false);
    } else {
        count += remote_filled(atomic_load_explicit(&page->remote, memory_order_relaxed));
        for (size_t i = count < carved ? carved - count : 0; i < carved; i++)
            frees.bits[i / 64] |= 1ull << i % 64;
    }
    for (uint32_t i = 0; i < carved; i++) {
        enum libmalloc_kind kind = blocks_have(&frees, i)    ? LIBMALLOC_FREE
                                   : blocks_have(&remote, i) ? LIBMALLOC_REMOTE
                                                        : LIBMALLOC_LIVE;
        snapshot_block(out, kind, page->start + i * size, 0, size, size);
    }
    snapshot_fresh(out, page->start + carved * size, page_end(page));
}

/* The block of a large run or of a mapping, and what lies before it (its color). */
static void large_snapshot(void *out, char *start, char *block, char *end) {
    size_t color = (size_t)(block - start);
    if (color)
        snapshot_add(out, (struct libmalloc_chunk){
                              .start = start, .extent = color, .kind = LIBMALLOC_HEADER});
    snapshot_block(out, LIBMALLOC_LIVE, block, 0, (size_t)(end - block), 0);
}

static void run_snapshot(struct page *run, void *out) {
    enum page_kind kind = page_published(run);
    bool small = kind == PAGE_SMALL;
    struct libmalloc_chunk chunk = {.start = run->start, .extent = page_length(run)};
    if (!small && kind != PAGE_LARGE) {
        chunk.kind = kind == PAGE_FREE && !run->dirty ? LIBMALLOC_FRESH : LIBMALLOC_CACHED;
        snapshot_add(out, chunk);
        return;
    }
    chunk.kind = LIBMALLOC_SPAN;
    chunk.size_class = small ? run->size : 0;
    chunk.owner = (uintptr_t)run->owner;
    snapshot_add(out, chunk);
    if (small) {
        page_snapshot(run, out);
        return;
    }
    large_snapshot(out, run->start, run->base, page_end(run));
}

static void runs_visit(const struct arena *a, void (*visit)(struct page *, void *), void *arg) {
    for (char *p = a->start; p < a->end;) {
        struct page *run = page_of(p);
        if (run->start != p) /* a fork caught it in transition */
            return;
        visit(run, arg);
        p = page_end(run);
    }
}

static void huge_snapshot(const struct huge *block, struct snapshot *out) {
    snapshot_region(out, block->start, block->length);
    snapshot_add(out, (struct libmalloc_chunk){
                          .start = block->start, .extent = block->length, .kind = LIBMALLOC_SPAN});
    large_snapshot(out, block->start, block->user, block->start + block->length);
}

/* Describes the first arena or huge block that begins at `at` or above, and returns its end; NULL
 * if there is none. Searches all of them, because they are few. */
static char *snapshot_next(char *at, struct snapshot *out) {
    struct arena *arena = NULL;
    struct huge *huge = NULL;
    for (size_t i = 0; i < arenas.count; i++)
        if (arenas.list[i].start >= at && (!arena || arenas.list[i].start < arena->start))
            arena = &arenas.list[i];
    for (unsigned i = 0; i < HUGE_BUCKETS; i++)
        for (struct huge *block = heap.huges.bucket[i]; block; block = block->next)
            if (block->start >= at && (!huge || block->start < huge->start))
                huge = block;
    if (huge && (!arena || huge->start < arena->start)) {
        huge_snapshot(huge, out);
        return huge->start + huge->length;
    }
    if (!arena)
        return NULL;
    snapshot_region(out, arena->start, (size_t)(arena->end - arena->start));
    runs_visit(arena, run_snapshot, out);
    return arena->end;
}

/* Drains this thread's heap and all abandoned ones, and sends their batches. Several times, because
 * they may have batches for each other. */
static void heaps_drain_all(void) {
    for (int i = 0; i < 3; i++)
        heaps_do(heap_drain_all);
}

static void heap_snapshot(struct snapshot *out) {
    heaps_drain_all();
    struct region *r = region_lock();
    heaps_inspect();
    for (char *at = NULL; (at = snapshot_next(at, out));) {
    }
    heaps_inspect_end();
    region_unlock(r);
}

/* Adds a run to the figures, from its record alone. */
static void run_count(struct page *run, void *out) {
    struct libmalloc_stats *s = out;
    enum page_kind kind = page_published(run);
    size_t length = page_length(run), size = run->size;
    if (kind == PAGE_SMALL) {
        uint64_t word = atomic_load_explicit(&run->remote, memory_order_relaxed);
        size_t carved = __atomic_load_n(&run->carved, __ATOMIC_RELAXED);
        size_t frees = __atomic_load_n(&run->count, __ATOMIC_RELAXED) + remote_filled(word);
        frees = frees < carved ? frees : carved;
        s->live_blocks += carved - frees;
        s->live_bytes += (carved - frees) * size;
        s->free_blocks += frees;
        s->free_bytes += frees * size;
        s->fresh_bytes += length - carved * size;
    } else if (kind == PAGE_LARGE) {
        s->live_blocks++;
        s->live_bytes += (size_t)(page_end(run) - run->base);
        s->header_bytes += (size_t)(run->base - run->start);
    } else if (kind == PAGE_FREE && !run->dirty) {
        s->fresh_bytes += length;
    } else {
        s->free_blocks++;
        s->free_bytes += length;
    }
}

/* Costs 0.1 µs for each page, because only records are read. Blocks in batches count as live. */
static bool heap_count(struct libmalloc_stats *out, bool patient) {
    if (!patient && !heap_is_idle())
        return false;
    struct region *r = region_lock();
    out->header_bytes = heap_overhead();
    out->regions = arenas.count + heap.huges.count;
    for (size_t i = 0; i < arenas.count; i++) {
        out->mapped += (size_t)(arenas.list[i].end - arenas.list[i].start);
        runs_visit(&arenas.list[i], run_count, out);
    }
    out->mapped += heap.huges.bytes;
    out->live_blocks += heap.huges.count;
    out->live_bytes += heap.huges.bytes - heap.huges.colored;
    out->header_bytes += heap.huges.colored;
    region_unlock(r);
    return true;
}

static void page_verify(struct page *page, struct findings *out) {
    struct block_set frees = {0};
    void *start = page->start;
    uint32_t wrong = blocks_add(&frees, page, page_places(page), page->count);
    expect(out, !wrong,
           "page %p: %u of %zu places on its stack are no block, or listed twice",
           start, wrong, page->count);
    wrong = blocks_add_remote(&frees, page, true);
    expect(out, !wrong, "page %p: %u blocks that other threads freed are no block, or free already",
           start, wrong);
    for (uint32_t i = 0; i < page->carved; i++) {
        struct block *b = (struct block *)(page->start + (size_t)i * page->size);
        expect(out, !blocks_have(&frees, i) || block_is_whole(b) ||
                        page_is_purged(page, i * (size_t)page->size / os_page_size()),
               "page %p: the free block %p was written to after its free", start, (void *)b);
    }
    if (page->owner->current[page->class] == page)
        return;
    expect(out, page->budget + page->count == page->goal,
           "page %p: a budget of %u and %zu free blocks do not add up to %u", start, page->budget,
           page->count, page->goal);
}

static void run_verify(struct page *run, void *out) {
    enum page_kind kind = page_published(run);
    if (kind == PAGE_FREE)
        expect(out,
               page_of(page_end(run) - 1) == run &&
                   !(runs_can_merge(page_of(page_end(run)), run) &&
                     page_of(page_end(run))->start == page_end(run)),
               "free run %p: its ends disagree, or it is not merged", (void *)run->start);
    else if (kind == PAGE_SMALL && run->owner->inspected)
        page_verify(run, out);
    else
        expect(out,
               kind == PAGE_SMALL || kind == PAGE_LARGE || kind == PAGE_KEPT || kind == PAGE_BUSY,
               "run %p: of no known kind", (void *)run->start);
}

static void heap_verify(struct findings *out) {
    heaps_drain_all();
    struct region *r = region_lock();
    heaps_inspect();
    for (size_t i = 0; i < arenas.count; i++)
        runs_visit(&arenas.list[i], run_verify, out);
    heaps_inspect_end();
    region_unlock(r);
}
