/* large.h: blocks of more than SMALL bytes. Up to LARGE they are runs of granules, which
 * keep their pages for a while when they are freed, so that the next one need not ask
 * the kernel; beyond that, and once they have grown by realloc beyond GROWN, they have
 * a mapping of their own (huge.h), which grows without copying.
 *
 * Locking: takes the region's lock; called without any.
 */
#pragma once

#include <sys/single_threaded.h>

#include "huge.h"
#include "region.h"

enum {
    LARGE = 32 << 20,
    GROWN = 2 << 20,
};
static const size_t RUN_MOST = 32ul << 30;

static void *huge_allocate(size_t alignment, size_t size) {
    size_t length = round_up(size, GRANULE);
    alignment = alignment > HUGE_PAGE ? alignment : HUGE_PAGE;
    char *start = os_map_aligned(length, alignment);
    if (!start)
        return NULL;
    struct region *r = region_enter();
    struct huge *block = NULL;
    if ((start = huge_settle(r, start, length, alignment))) {
        if ((block = heap.huges.spare))
            heap.huges.spare = block->next;
        else
            block = record_make(sizeof *block);
    }
    if (block) {
        block->start = start;
        block->length = length;
        huge_link(&heap.huges, block);
    }
    region_leave(r);
    if (start && !block)
        os_unmap(start, length);
    return block ? start : NULL;
}

static bool huge_free(void *p) {
    if ((uintptr_t)p % GRANULE || page_of(p)->kind == PAGE_SMALL)
        return false;
    struct region *r = region_enter();
    struct huge **at = huge_find(&heap.huges, p);
    struct huge *block = *at ? huge_unlink(at) : NULL;
    struct huge was = block ? *block : (struct huge){0};
    if (block) {
        block->next = heap.huges.spare;
        heap.huges.spare = block;
    }
    region_leave(r);
    if (block && !os_unmap(was.start, was.length))
        os_purge(was.start, was.length);
    return block;
}

/* A thread keeps the last runs that it freed, one of each length, so that a large block
 * that comes and goes costs no lock. They are the region's again when it would have to
 * grow for this thread. */
static bool run_keep(struct page *run) {
    struct heap *h = self;
    uint32_t granules = run->granules;
    if (h == &heap_none || h->kept_granules + granules > KEPT || h->kept[granules - 1] ||
        run->era != heap.region->era)
        return false;
    h->kept_granules += granules;
    h->kept[granules - 1] = page_number(run);
    return true;
}

static inline uint32_t run_granules(size_t size) {
    return (uint32_t)((size + GRANULE - 1) >> GRANULE_BITS);
}

static inline void *run_kept(struct heap *h, uint32_t granules) {
    if (!h->kept[granules - 1])
        return NULL;
    struct page *run = page_at(h->kept[granules - 1]);
    h->kept[granules - 1] = 0;
    h->kept_granules -= granules;
    run->kind = PAGE_LARGE;
    return page_start(run);
}

/* A run of granules. An alignment beyond a granule takes a longer one and gives both
 * ends back. */
static void *run_allocate(size_t alignment, size_t size, bool *zero) {
    if (size > RUN_MOST || alignment > RUN_MOST)
        return os_refuse();
    uint32_t granules = run_granules(size);
    uint32_t slack = (uint32_t)(alignment >> GRANULE_BITS) - 1;
    char *kept = slack || granules > KEPT ? NULL : run_kept(self, granules);
    if (kept)
        return *zero = false, kept;
    struct page *run = region_take(granules + slack, NULL);
    if (!run)
        return NULL;
    struct region *r = region_enter();
    *zero = !run->dirty;
    char *start = page_start(run);
    uint32_t front = (uint32_t)((align_up(start, alignment) - start) >> GRANULE_BITS);
    if (slack > front)
        run[front + granules].era = run->era,
                    run_give(r, run + front + granules, slack - front, run->dirty);
    struct page was = *run;
    if (front)
        run_give(r, run, front, was.dirty);
    run += front;
    run->granules = granules;
    run->era = was.era;
    run->dirty = was.dirty;
    run->kind = PAGE_LARGE;
    run->home = NULL;
    region_leave(r);
    return page_start(run);
}

/* Where there are no addresses left of the one kind, there may be some of the other. */
static void *large_allocate(size_t alignment, size_t size, bool *zero) {
    bool huge = size > LARGE || alignment > LARGE;
    *zero = true;
    if (size > PTRDIFF_MAX)
        return os_refuse();
    void *p = huge ? huge_allocate(alignment, size) : run_allocate(alignment, size, zero);
    if (unlikely(!p))
        p = huge ? run_allocate(alignment, size, zero) : huge_allocate(alignment, size);
    return p;
}

static inline bool large_begins(struct page *page, void *p) {
    return page->kind == PAGE_LARGE && page_start(page) == (char *)p;
}

/* Two threads may free it at once: one of them wins. */
static __attribute__((noinline)) void large_free(void *p, struct page *page, const char *call) {
    uint8_t live = PAGE_LARGE;
    if (likely(__libc_single_threaded))
        page->kind = PAGE_KEPT; /* large_begins has just seen that it lives; the half of the price */
    else
        must(__atomic_compare_exchange_n(&page->kind, &live, PAGE_KEPT, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED),
             call, "%s of %p", freed_twice(call), p);
    bool kept = run_keep(page);
    if (kept && likely(!region_is_due(heap.region)))
        return;
    struct region *r = region_enter();
    if (kept)
        region_look(r, now_ms());
    else
        run_give(r, page, page->granules, true);
    region_leave(r);
}

static size_t huge_usable(void *p) {
    if ((uintptr_t)p % GRANULE || page_of(p)->kind == PAGE_SMALL)
        return 0;
    struct region *r = region_enter();
    struct huge *block = *huge_find(&heap.huges, p);
    size_t length = block ? block->length : 0;
    region_leave(r);
    return length;
}

/* Large blocks grow where they stand if they can; huge ones by moving page tables. */
static void *large_resize(void *p, size_t old, size_t size) {
    if (old <= SMALL || size <= SMALL)
        return NULL;
    struct region *r = region_enter();
    struct page *page = page_of(p);
    struct huge **at = huge_find(&heap.huges, p);
    void *new = NULL;
    if (*at && size >= GROWN) {
        struct huge *block = huge_unlink(at);
        new = huge_remap(r, block, round_up(size, HUGE_PAGE));
        huge_link(&heap.huges, block);
    } else if (!*at && size <= LARGE && (size < old || old < GROWN) &&
               run_resize(r, page, run_granules(size))) {
        new = p;
    }
    region_leave(r);
    return new;
}
