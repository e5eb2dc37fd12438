/* arena.h: arenas, which are contiguous memory from the kernel, and the map from their granules to
 * records.
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include "record.h"

enum { MAPPED = 64 /* leading granules of a run that get an entry; a page has four at most */ };

struct arena {
    char *start, *end;
};

/* The arenas of all eras; adjacent ones are merged. block_check reads the list without the lock,
 * but only to word its message. */
static struct {
    struct arena *list;
    size_t count, room;
    struct arena first[16];
} arenas;

static struct arena *arena_of(const void *p) {
    for (size_t i = 0; i < arenas.count; i++)
        if ((const char *)p >= arenas.list[i].start && (const char *)p < arenas.list[i].end)
            return &arenas.list[i];
    return NULL;
}

static bool arenas_add(char *start, char *end) {
    struct arena *below = NULL, *above = NULL;
    for (struct arena *a = arenas.list; a < arenas.list + arenas.count; a++) {
        below = a->end == start ? a : below;
        above = a->start == end ? a : above;
    }
    if (below && above) { /* it fills a gap: merge all three, because a free run may span them */
        below->end = above->end;
        *above = arenas.list[arenas.count - 1];
        arenas.count--;
        return true;
    }
    if (below)
        return below->end = end, true;
    if (above)
        return above->start = start, true;
    if (arenas.count == arenas.room) {
        size_t room = arenas.room ? 4 * arenas.room : sizeof arenas.first / sizeof *arenas.first;
        struct arena *more = arenas.room ? os_map(room * sizeof *more) : arenas.first;
        if (!more)
            return false;
        if (arenas.count)
            memcpy(more, arenas.list, arenas.count * sizeof *more);
        arenas.list = more;
        arenas.room = room;
    }
    arenas.list[arenas.count] = (struct arena){start, end};
    arenas.count++;
    return true;
}

/* Would a granule from start to end share its entry with one of `a`, in a map of that mask? */
static bool ranges_share(char *start, char *end, struct arena *a, uintptr_t mask) {
    uintptr_t window = (mask + 1) << GRANULE_BITS;
    return ((uintptr_t)(start - a->start) & (window - 1)) < (size_t)(a->end - a->start) ||
           ((uintptr_t)(a->start - start) & (window - 1)) < (size_t)(end - start);
}

static bool map_shares(char *start, char *end, uintptr_t mask) {
    if ((size_t)(end - start) > (mask + 1) << GRANULE_BITS)
        return true;
    for (size_t i = 0; i < arenas.count; i++)
        if (ranges_share(start, end, &arenas.list[i], mask))
            return true;
    return false;
}

/* Would all granules, these included, have an entry of their own in a map of that mask? */
static bool map_serves(char *start, char *end, uintptr_t mask) {
    for (size_t i = 0; i < arenas.count; i++)
        for (size_t j = 0; j < i; j++)
            if (ranges_share(arenas.list[i].start, arenas.list[i].end, &arenas.list[j], mask))
                return false;
    return !map_shares(start, end, mask);
}

static void map_enter(struct map *m, const char *granule, const struct page *page) {
    m->entry[(uintptr_t)granule >> GRANULE_BITS & m->mask] = (const char *)page - (char *)m;
}

/* Lengthens the map until the granules from start to end have entries of their own. False if there
 * is no memory for it. */
static bool map_cover(char *start, char *end) {
    struct map *old = atomic_load_explicit(&page_map, memory_order_relaxed);
    uintptr_t mask = old->mask;
    if (!map_shares(start, end, mask))
        return true;
    do
        mask = 2 * mask + 1;
    while (mask < 1ul << 31 && !map_serves(start, end, mask));
    size_t length = sizeof *old + (mask + 1) * sizeof *old->entry;
    struct map *new = mask < 1ul << 31 ? os_map(length) : NULL;
    if (!new)
        return false;
    new->mask = mask;
    for (size_t i = 0; i < arenas.count; i++)
        for (char *p = arenas.list[i].start; p < arenas.list[i].end; p += GRANULE)
            if ((char *)page_of(p) != old->none)
                map_enter(new, p, page_of(p));
    atomic_store_explicit(&page_map, new, memory_order_release);
    return true;
}

/* Repeats if the map was replaced meanwhile: a signal handler may fork here, and the child may
 * lengthen the map, in a region of its own (heap_freeze), before it continues this call. */
static void map_set(const struct page *page, uint32_t granule) {
    struct map *m, *now = atomic_load_explicit(&page_map, memory_order_relaxed);
    do {
        map_enter(m = now, page->start + ((size_t)granule << GRANULE_BITS), page);
        atomic_signal_fence(memory_order_seq_cst);
        now = atomic_load_explicit(&page_map, memory_order_relaxed);
    } while (unlikely(now != m));
}

/* Both ends of a free run are entered, because its neighbours look there to merge with it; of a run
 * in use also the first MAPPED granules, because pointers lead there. */
static void map_set_ends(const struct page *page) {
    map_set(page, 0);
    map_set(page, page->granules - 1);
}
static void map_set_all(const struct page *page) {
    for (uint32_t i = 0; i < page->granules && i < MAPPED; i++)
        map_set(page, i);
    map_set(page, page->granules - 1);
}

/* Clears the entries of a run that becomes free or is merged, because records are reused; run_link
 * then enters the ends of the free run. */
static void map_clear(const struct page *page) {
    struct map *m = atomic_load_explicit(&page_map, memory_order_relaxed);
    for (uint32_t i = 0; i < page->granules && i < MAPPED; i++)
        map_enter(m, page->start + ((size_t)i << GRANULE_BITS), (struct page *)m);
    map_enter(m, page_end(page) - GRANULE, (struct page *)m);
}

