/* large.h: blocks of more than SMALL bytes. Up to LARGE they are runs of granules, which keep their
 * memory for a while after the free, so that the next large block need not ask the kernel. Longer
 * ones, and those that grow from GROWN bytes or more, have a mapping of their own (huge.h), which
 * grows without copying.
 *
 * A run begins at a multiple of 64 KiB. If blocks did, too, the first lines of all of them would
 * contend for the same few sets of a cache (48 buffers read in step: 11 ns an access instead of
 * 1.6). So a block begins up to 4 KiB behind its run's start: its color.
 *
 * Locking: the caller holds no lock, and these functions take the region's; but the callers of
 * run_make, huge_remap and huge_resize hold it.
 */
#pragma once

#include "huge.h"
#include "owner.h"

enum {
    LARGE = 32 << 20,
    GROWN = 2 << 20,    /* a block of so many bytes gets its own mapping when it grows */
    COLORS = 64,        /* possible starts of a large block, a cache line apart */
    COLORED = (COLORS - 1) * 64,
    COLORED_LEAST = 512 << 10, /* bytes of the shortest block whose run has room for every color */
    KEPT_MOST = KEPT << GRANULE_BITS,
};
static const size_t RUN_MOST = 32ul << 30;

/* The granules for a block. For a block of COLORED_LEAST bytes or more, the color may take one more
 * granule, which is at most an eighth of the run. */
static inline uint32_t run_granules(size_t size) {
    size_t room = size >= COLORED_LEAST ? COLORED : 0;
    return (uint32_t)((size + room + GRANULE - 1) >> GRANULE_BITS);
}

/* Where a block begins in its run or mapping: as far behind the start as its color says and the
 * room allows. Runs that begin in adjacent granules have different colors, if there is room. */
static inline char *block_start(char *start, size_t length, size_t alignment, size_t size) {
    size_t room = length - size < COLORED ? length - size : COLORED;
    size_t color = ((uintptr_t)start >> GRANULE_BITS) * 37 % COLORS * (room / 64 + 1) / COLORS * 64;
    return start + (color & ~(alignment - 1));
}

/* ── mappings of their own ─────────────────────────────────────────────────── */

static size_t huge_length(size_t size) { return round_up(size + COLORED, GRANULE); }

static void *huge_allocate(size_t alignment, size_t size, bool *zero) {
    size_t length = huge_length(size);
    struct region *r = region_lock();
    struct huge *reused = huge_reuse(&heap.huges, length, alignment);
    struct huge *block = reused ? reused : huge_record(&heap.huges);
    region_unlock(r);
    if (block && !reused) {
        size_t aligned = alignment > HUGE_PAGE ? alignment : HUGE_PAGE;
        block->length = length;
        block->start = limit_map(length, aligned, 0);
    }
    r = region_lock();
    char *user = NULL;
    if (block && block->start) {
        *zero = !reused;
        user = block->user = block_start(block->start, block->length, alignment, size);
        huge_link(&heap.huges, block);
    } else if (block) {
        huge_put(&heap.huges.spare, block);
    }
    region_unlock(r);
    return user ? user : os_refuse();
}

/* Unmaps the mapping of a freed block, if `block` is not NULL. The kernel refuses if the hole would
 * be one mapping too many; then purges the mapping, and huge_retry unmaps it later. True if it was
 * unmapped. */
static bool huge_drop(struct huge *block) {
    if (!block)
        return false;
    bool done = limit_unmap(block->start, block->length);
    if (!done)
        os_purge(block->start, block->length);
    struct region *r = region_lock();
    huge_put(done ? &heap.huges.spare : &heap.huges.refused, block);
    region_unlock(r);
    return done;
}

static bool huge_retry(void) {
    struct region *r = region_lock();
    struct huge *block = huge_take(&heap.huges.refused);
    region_unlock(r);
    return huge_drop(block);
}

static bool huge_free(void *p) {
    struct region *r = region_lock();
    struct huge **at = huge_find(&heap.huges, p);
    struct huge *block = *at ? huge_unlink(&heap.huges, at) : NULL;
    struct huge *other = block ? huge_retire(&heap.huges, block) : NULL;
    region_unlock(r);
    huge_drop(other);
    return block;
}

static size_t huge_usable(void *p) {
    struct region *r = region_lock();
    struct huge *block = *huge_find(&heap.huges, p);
    size_t size = block ? (size_t)(block->start + block->length - block->user) : 0;
    region_unlock(r);
    return size;
}

/* ── runs ──────────────────────────────────────────────────────────────────── */

/* A thread keeps one freed run of each length up to KEPT granules, so that a short large block that
 * is allocated and freed again and again takes no lock. This function makes the kept run of that
 * length a live block; NULL if none is kept. */
static inline void *kept_take(struct heap *h, size_t size) {
    struct page **slot = &h->kept[run_granules(size) - 1], *run = *slot;
    if (!run)
        return NULL;
    *slot = NULL;
    if (unlikely((size_t)(page_end(run) - run->base) < size))
        run->base = block_start(run->start, page_length(run), 64, size);
    page_publish(run, PAGE_LARGE);
    return run->base;
}

/* Keeps a freed run. False if the thread cannot keep it, and the caller has to free it: it is too
 * long, one of its length is kept already, or a fork froze it. */
static bool kept_add(struct page *run) {
    struct heap *h = self;
    if (run->granules > KEPT || h == &heap_none || h->kept[run->granules - 1] ||
        run->era != heap.region->era)
        return false;
    run->dirty = true;
    h->kept[run->granules - 1] = run;
    return true;
}

/* Frees the runs that a thread keeps. */
static void kept_flush(struct heap *h) {
    struct region *r = region_lock();
    for (uint32_t i = 0; i < KEPT; i++)
        if (h->kept[i]) {
            run_free(r, h->kept[i], true);
            h->kept[i] = NULL;
        }
    region_unlock(r);
}

/* Makes a run in use; NULL with errno ENOMEM. For an alignment of more than a granule, acquires a
 * longer run and frees what it does not need at both ends. */
static struct page *run_make(struct region *r, uint32_t granules, size_t alignment) {
    struct page *run = record_make(&slabs.pools[0], CLASSES);
    uint32_t slack = alignment > GRANULE ? (uint32_t)(alignment >> GRANULE_BITS) - 1 : 0;
    if (!run)
        return os_refuse();
    if (!run_acquire(r, granules + slack, RUNS, run)) {
        record_free(run);
        return NULL;
    }
    if (!slack)
        return run;
    bool dirty = run->dirty;
    uint32_t front = (uint32_t)((align_up(run->start, alignment) - run->start) >> GRANULE_BITS);
    struct page *rest = front ? record_make(&slabs.pools[0], CLASSES) : run;
    if (!rest) {
        run_free(r, run, dirty);
        return os_refuse();
    }
    if (front) { /* free what lies before; `rest` is for the block */
        uint32_t behind = run->granules - front;
        run->granules = front;
        run_split(rest, run, page_end(run), behind);
        map_set_all(rest);
        run_free(r, run, dirty);
    }
    run_resize(r, rest, granules, dirty);
    return rest;
}

static bool heaps_reclaim(void);

static void *run_allocate(size_t alignment, size_t size, bool *zero) {
    if (size > RUN_MOST || alignment > RUN_MOST)
        return os_refuse();
    uint32_t granules = run_granules(size);
    struct heap *h = self;
    void *kept = alignment > 64 || granules > KEPT ? NULL : kept_take(h, size);
    if (kept)
        return *zero = false, kept;
    struct page *run = NULL;
    for (int i = 0; i < 2 && !run && (i == 0 || heaps_reclaim()); i++) {
        struct region *r = region_lock();
        run = run_make(r, granules, alignment);
        region_unlock(r);
    }
    if (!run)
        return NULL;
    *zero = !run->dirty;
    run->base = block_start(run->start, page_length(run), alignment, size);
    run->owner = NULL;
    page_publish(run, PAGE_LARGE);
    return run->base;
}

/* If there is no memory for a run, there may still be some for a mapping, and vice versa. */
static void *large_allocate(size_t alignment, size_t size, bool *zero) {
    bool huge = size > LARGE || alignment > LARGE;
    *zero = true;
    if (size > PTRDIFF_MAX)
        return os_refuse();
    void *p = huge ? huge_allocate(alignment, size, zero) : run_allocate(alignment, size, zero);
    if (unlikely(!p))
        p = huge ? run_allocate(alignment, size, zero) : huge_allocate(alignment, size, zero);
    return p;
}

static inline bool large_begins(const struct page *page, const void *p) {
    return page->kind == PAGE_LARGE && page->base == p;
}

static void region_teardown(uint32_t granules);

/* If two threads free the block at once, the compare-and-swap fails for one of them, which dies. */
static __attribute__((noinline)) void large_free(void *p, struct page *page, const char *call) {
    uint32_t live = PAGE_LARGE;
    if (likely(is_single_threaded()))
        page->kind = PAGE_KEPT; /* large_begins saw that it is live. No swap: half the cost */
    else
        must(__atomic_compare_exchange_n(&page->kind, &live, PAGE_KEPT, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED),
             call, "%s of %p", freed_twice(call), p);
    if (likely(kept_add(page)))
        return;
    struct region *r = region_lock();
    uint32_t granules = page->granules;
    run_free(r, page, true);
    region_unlock(r);
    region_teardown(granules);
    if (self != &heap_none)
        heap_tick(self);
}

/* ── growing and shrinking ─────────────────────────────────────────────────── */

/* Makes the mapping `length` bytes long and returns the block's new address. NULL if the kernel
 * refuses, or if the program divided the mapping (by mlock of a part, for example): then a move
 * would fail, and kernels before 6.17 unmap the target before they fail. */
static char *huge_remap(struct huge *block, size_t length) {
    size_t offset = (size_t)(block->user - block->start);
    int error = os_resize(block->start, block->length, length);
    if (error == EFAULT)
        return NULL;
    if (error) {
        char *to = os_map_aligned(length, HUGE_PAGE);
        if (!to || !os_move(block->start, block->length, to, length)) {
            if (to)
                os_unmap(to, length);
            return NULL;
        }
        block->start = to;
    }
    block->length = length;
    block->user = block->start + offset;
    return block->user;
}

/* Resizes a block's mapping. If it shrinks, the kernel takes the pages at its end. If it grows, it
 * gets a sixteenth more, unless the limit allows no more than `size`. NULL if that fails. */
static void *huge_resize(struct huge **at, size_t size) {
    struct huge *block = huge_unlink(&heap.huges, at);
    size_t old = block->length, exact = round_up(size + COLORED, os_page_size()), length = exact;
    if (length > old) /* it will probably grow further */
        length = round_up(length + length / 16, HUGE_PAGE);
    bool allowed = length <= old || limit_charge(length - old);
    if (!allowed && (allowed = limit_charge(exact - old)))
        length = exact;
    void *new = allowed ? huge_remap(block, length) : NULL;
    if (new && length < old)
        limit_refund(old - length);
    else if (!new && allowed && length > old)
        limit_refund(length - old);
    if (new && length > old && options.huge)
        os_make_huge(block->start, length);
    huge_link(&heap.huges, block);
    return new;
}

/* Resizes a run in place, or a mapping, which mremap may move. If a run shrinks, its tail is
 * purged, and the granules that the block does not need become a free run. A block of `longest`
 * bytes or more does not grow as a run. NULL if that fails, or if another kind of block suits the
 * size better. */
static void *large_resize(void *p, size_t old, size_t size, size_t longest) {
    if (old <= SMALL || size <= SMALL)
        return NULL;
    struct region *r = region_lock();
    struct page *page = page_of(p);
    struct huge **at = large_begins(page, p) ? NULL : huge_find(&heap.huges, p);
    void *new = NULL;
    if (at && *at) {
        new = size >= GROWN ? huge_resize(at, size) : NULL;
    } else if (!at && size <= LARGE && page->era == r->era && (size < old || old < longest)) {
        size_t offset = (size_t)(page->base - page->start);
        char *end = align_up(page->base + size, os_page_size()); /* purge from here on */
        bool purged = size < old && os_purge(end, (size_t)(page_end(page) - end));
        if (run_resize(r, page, (uint32_t)((offset + size + GRANULE - 1) >> GRANULE_BITS), !purged))
            new = p;
    }
    region_unlock(r);
    return new;
}

/* When the block in a run of GROWN bytes or more grows, moves it to a mapping of its own, with huge
 * pages: they waste little, because the block's bytes are in use. When it grows again, mremap moves
 * page tables, not bytes. NULL if the block is shorter than GROWN or is in no run, or there is no
 * memory. */
static void *large_move(void *p, size_t old, size_t size, const char *call) {
    bool zero;
    struct page *page = page_of(p);
    if (old < GROWN || !large_begins(page, p))
        return NULL;
    char *to = huge_allocate(64, round_up(size, HUGE_PAGE), &zero);
    if (!to)
        return NULL;
    char *start = (char *)((uintptr_t)to & ~(uintptr_t)(GRANULE - 1));
    if (options.huge) /* for all of it: advice for a part would divide the mapping (huge_remap) */
        os_make_huge(start, huge_length(round_up(size, HUGE_PAGE)));
    memcpy(to, p, old);
    large_free(p, page, call);
    return to;
}
