/* region.h: memory from the kernel in arenas, allocated and freed in runs of granules (64 KiB
 * each), and purged after it has been idle.
 *
 *      ┌ arena ──────────────────────────────────────────┐   ┌ arena ───── …
 *      │ run │ free, dirty │ run │ run │ free, clean      │   │
 *      └─────────────────────────────────────────────────┘   └────────────
 *
 * The first arena is one of our own variables: it costs no system call and no page tables of its
 * own, and a small program needs no other. Each further one is as long as a quarter of the heap, at
 * least ARENA_STEP and at most ARENA_MOST unless a longer run is wanted. The kernel chooses where;
 * arenas are never unmapped. There are two kinds of memory (areas):
 *
 *      PAGES   for pages of small blocks
 *      RUNS    for large blocks. Many are buffers that are never filled; and pages of small blocks
 *              between them would keep long free runs from forming again
 *
 * A free run is clean (untouched, or purged: it reads as zero) or dirty (it keeps its memory).
 * Free neighbours of one area merge if both are clean or both dirty. Bins hold them by length.
 * Dirty runs are used first, because a page fault costs more than a dozen calls of malloc. Time is
 * divided into intervals of half of options.decay_ms. Dirty memory that was idle throughout an
 * interval (the least value of `dirty` in it) is surplus, and is purged in the next. A program that
 * tears down its data may never call us again, so dirty memory beyond RETAIN, or `retain` if that
 * is more, is purged at once; `retain` grows if such memory is soon wanted again.
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include <limits.h>
#include <time.h>

#include "../base/lock.h"
#include "../base/limit.h"
#include "arena.h"

enum {
    EXACT = 32,            /* bins for one length each; then eight to each doubling */
    BINS = EXACT + 8 * 20,
    TRIES = 8,             /* runs of the first bin that are examined before the next bin */
    ARENA_STEP = 4 << 20,  /* bytes: the length of an arena is a multiple, if possible */
    ARENA_MOST = 64 << 20, /* bytes that are mapped ahead, at most */
    PORTION = 16,            /* granules that are purged at a time */
    RETAIN = 64,             /* dirty granules that a teardown leaves, at least */
};

enum area_kind { PAGES, RUNS, AREAS };

struct bins {
    uint64_t used[BINS / 64]; /* a bit for each bin that is not empty */
    struct page *first[BINS];
};

struct region {
    struct lock lock;
    uint8_t era;
    struct bins free[AREAS][2];     /* clean, dirty */
    struct page *oldest, *youngest; /* of the dirty free runs */
    size_t used, dirty;             /* granules in use, and in dirty free runs */
    size_t least;                   /* the least value of `dirty` in this interval */
    size_t surplus;                 /* granules to be purged: idle throughout the last interval */
    size_t most;                    /* the most that were in use in this interval */
    size_t retain;                  /* dirty granules that a teardown leaves (region_teardown) */
    size_t torn;                    /* granules that teardowns purged in this interval, not reused */
    uint64_t since;                 /* when the interval began, in ms */
    bool locked;                    /* the kernel refused a purge: memory is locked */
    struct region *older;           /* the one that a fork froze; GDB still finds its blocks */
};

/* ── free runs ─────────────────────────────────────────────────────────────── */

static unsigned run_bin(uint32_t granules) {
    if (granules <= EXACT)
        return granules - 1;
    unsigned log = 31 - (unsigned)__builtin_clz(granules - 1);
    unsigned bin = EXACT + (log - 5) * 8 + ((granules - 1) >> (log - 3)) % 8;
    return bin < BINS ? bin : BINS - 1;
}

static void run_link(struct region *r, struct page *run) {
    struct bins *b = &r->free[run->area][run->dirty];
    unsigned bin = run_bin(run->granules);
    run->kind = PAGE_FREE;
    list_push(&b->first[bin], run);
    b->used[bin / 64] |= 1ull << bin % 64;
    map_set_ends(run);
    if (!run->dirty)
        return;
    r->dirty += run->granules;
    run->younger = NULL;
    run->older = r->youngest;
    *(r->youngest ? &r->youngest->younger : &r->oldest) = run;
    r->youngest = run;
}

static void run_unlink(struct region *r, struct page *run) {
    struct bins *b = &r->free[run->area][run->dirty];
    unsigned bin = run_bin(run->granules);
    run->kind = PAGE_BUSY;
    list_remove(&b->first[bin], run);
    if (!b->first[bin])
        b->used[bin / 64] &= ~(1ull << bin % 64);
    if (!run->dirty)
        return;
    r->dirty -= run->granules;
    *(run->older ? &run->older->younger : &r->oldest) = run->younger;
    *(run->younger ? &run->younger->older : &r->youngest) = run->older;
}

static bool runs_can_merge(const struct page *a, const struct page *b) {
    return a->kind == PAGE_FREE && a->area == b->area && a->dirty == b->dirty && a->era == b->era;
}

/* Makes `run` a free run, and merges it with its free neighbours. */
static void run_insert(struct region *r, struct page *run) {
    struct page *before = page_of(run->start - 1), *next = page_of(page_end(run));
    map_clear(run);
    if (runs_can_merge(before, run) && page_end(before) == run->start) {
        run_unlink(r, before);
        map_clear(before);
        run->start = before->start;
        run->granules += before->granules;
        record_free(before);
    }
    if (runs_can_merge(next, run) && next->start == page_end(run)) {
        run_unlink(r, next);
        map_clear(next);
        run->granules += next->granules;
        record_free(next);
    }
    run_link(r, run);
}

/* Finds a free run that is long enough: one from the bin of that length, or any from the next bin
 * that is not empty. Only `tries` of the first bin are examined, since all may be too short. */
static struct page *bins_search(struct bins *b, uint32_t granules, unsigned tries) {
    unsigned bin = run_bin(granules);
    for (struct page *run = b->first[bin]; run && tries--; run = run->next)
        if (run->granules >= granules)
            return run;
    for (bin++; bin < BINS; bin = (bin | 63) + 1) {
        uint64_t used = b->used[bin / 64] & ~0ull << bin % 64;
        if (used)
            return b->first[bin / 64 * 64 + (unsigned)__builtin_ctzll(used)];
    }
    return NULL;
}

static struct page *bins_find(struct bins *b, uint32_t granules) {
    return bins_search(b, granules, TRIES);
}

/* Finds a free run: a dirty one of area `kind`, else a dirty one of any area, else a clean one of
 * area `kind`. While the heap is small, a short large block may lie in the first arena, although
 * that is all PAGES. */
static struct page *run_find(struct region *r, uint32_t granules, enum area_kind kind) {
    struct page *run = bins_find(&r->free[kind][true], granules);
    for (unsigned i = 0; i < AREAS && !run; i++)
        run = bins_find(&r->free[i][true], granules);
    if (!run)
        run = bins_find(&r->free[kind][false], granules);
    if (!run && kind == RUNS && granules <= 4 && r->used < NEAR_SIZE >> GRANULE_BITS)
        run = bins_find(&r->free[PAGES][false], granules);
    return run;
}

/* ── more memory ───────────────────────────────────────────────────────────── */

/* Adds new memory as a clean free run, with a record that the caller made for it. */
static void region_add(struct region *r, struct page *record, char *start, size_t length,
                       enum area_kind kind) {
    record->start = start;
    record->granules = (uint32_t)(length >> GRANULE_BITS);
    record->area = (uint8_t)kind;
    record->dirty = false;
    record->era = r->era;
    run_insert(r, record);
}

/* Adds the first arena, once: `near` without its first granule, which is the first slab. */
static bool near_open(struct region *r) {
    if (arenas.count)
        return true;
    struct page *record = record_make(&slabs.pools[0], CLASSES);
    char *start = near_start() + GRANULE, *end = near_start() + NEAR_SIZE;
    if (!record || !arenas_add(start, end))
        return false;
    region_add(r, record, start, (size_t)(end - start), PAGES);
    return true;
}

static bool arena_make(struct region *r, size_t length, enum area_kind kind) {
    size_t alignment = length % HUGE_PAGE ? GRANULE : HUGE_PAGE;
    struct page *record = record_make(&slabs.pools[0], CLASSES);
    char *start = record ? os_map_aligned(length, alignment) : NULL;
    if (start && map_cover(start, start + length) && arenas_add(start, start + length)) {
        region_add(r, record, start, length, kind);
        return true;
    }
    if (start)
        os_unmap(start, length);
    if (record)
        record_free(record);
    return false;
}

/* Maps an arena for a quarter of the heap ahead, or, if that is refused, for this run alone. */
static bool region_extend(struct region *r, uint32_t granules, enum area_kind kind) {
    size_t exact = (size_t)granules << GRANULE_BITS, ahead = r->used << GRANULE_BITS >> 2;
    if (ahead > ARENA_MOST)
        ahead = ARENA_MOST;
    size_t wanted = round_up(exact > ahead ? exact : ahead, ARENA_STEP);
    return arena_make(r, wanted, kind) || (wanted != exact && arena_make(r, exact, kind));
}

/* ── runs in use ───────────────────────────────────────────────────────────── */

/* Makes `part` the record of some granules of a run; the caller enters it in the map. */
static void run_split(struct page *part, const struct page *run, char *start, uint32_t granules) {
    part->start = part->base = start;
    part->granules = granules;
    part->area = run->area;
    part->era = run->era;
    part->dirty = run->dirty;
    part->kind = PAGE_BUSY;
}

/* Makes `record` a run in use, of the first granules of a free run. False if there is no memory for
 * records, or if the run is clean and would exceed the limit, for which runs in use and dirty ones
 * count. */
static bool run_cut(struct region *r, struct page *run, uint32_t granules, struct page *record) {
    struct page *rest = run->granules > granules ? record_make(&slabs.pools[0], CLASSES) : NULL;
    if ((run->granules > granules && !rest) ||
        (!run->dirty && !limit_charge((size_t)granules << GRANULE_BITS))) {
        if (rest)
            record_free(rest);
        return false;
    }
    run_unlink(r, run);
    run_split(record, run, run->start, granules);
    if (rest) {
        run_split(rest, run, page_end(record), run->granules - granules);
        run_link(r, rest);
    }
    record_free(run);
    r->used += granules;
    if (r->used > r->most)
        r->most = r->used;
    if (r->dirty < r->least)
        r->least = r->dirty;
    map_set_all(record);
    return true;
}

/* Makes `record` a run in use of so many granules; record->dirty says whether it may hold old data.
 * False with errno ENOMEM. */
static bool run_acquire(struct region *r, uint32_t granules, enum area_kind kind,
                     struct page *record) {
    if (!near_open(r))
        return os_refuse();
    struct page *run = run_find(r, granules, kind);
    if (!run) {
        run = region_extend(r, granules, kind) ? run_find(r, granules, kind) : NULL;
        for (unsigned i = 0; i < 2 * AREAS && !run; i++) /* no more memory: search all there is */
            run = bins_search(&r->free[i / 2][i % 2], granules, UINT_MAX);
        if (!run)
            return os_refuse();
    } else if (!run->dirty && r->torn) { /* what a teardown gave back is wanted again */
        size_t again = granules < r->torn ? granules : r->torn;
        r->torn -= again;
        r->retain += 4 * again;
        if (r->retain > 2 * r->most) /* more than was in use, because free runs may be too short */
            r->retain = 2 * r->most;
    }
    return run_cut(r, run, granules, record) || os_refuse();
}

/* Frees a run; its record becomes that of the free run. */
static void run_free(struct region *r, struct page *run, bool dirty) {
    run->owner = NULL;
    run->limit = 0;
    run->kind = PAGE_BUSY;
    if (run->era != r->era)
        return; /* frozen at a fork: never reused */
    r->used -= run->granules;
    run->dirty = dirty;
    if (!dirty)
        limit_refund(page_length(run));
    run_insert(r, run);
}

/* Counts the granules of the free runs directly behind a run, until they are `wanted` or more. They
 * may be several, because dirty and clean ones do not merge. */
static uint32_t runs_after(const struct page *run, uint32_t wanted) {
    uint32_t granules = 0;
    for (char *end = page_end(run); granules < wanted;) {
        const struct page *next = page_of(end);
        if (next->kind != PAGE_FREE || next->start != end || next->era != run->era)
            break;
        granules += next->granules;
        end = page_end(next);
    }
    return granules;
}

/* Grows or shrinks a run in place; false if it cannot grow there, or only by a part of what was
 * wanted. `dirty`: the part that it frees may hold old data. */
static bool run_resize(struct region *r, struct page *run, uint32_t granules, bool dirty) {
    if (run->era != r->era)
        return false; /* frozen at a fork */
    if (granules == run->granules)
        return true;
    if (granules < run->granules) {
        struct page *rest = record_make(&slabs.pools[0], CLASSES);
        if (!rest)
            return true; /* it keeps what it has */
        uint32_t behind = run->granules - granules;
        run->granules = granules;
        run_split(rest, run, page_end(run), behind);
        map_set(run, granules - 1);
        run_free(r, rest, dirty);
        return true;
    }
    if (runs_after(run, granules - run->granules) < granules - run->granules)
        return false;
    while (run->granules < granules) {
        struct page *next = page_of(page_end(run));
        uint32_t more = granules - run->granules;
        struct page *part = record_make(&slabs.pools[0], CLASSES);
        if (!part || !run_cut(r, next, more < next->granules ? more : next->granules, part)) {
            if (part)
                record_free(part);
            return false;
        }
        map_clear(part);
        run->granules += part->granules;
        run->dirty |= part->dirty;
        record_free(part);
        map_set_all(run);
    }
    return true;
}

/* ── giving memory back ────────────────────────────────────────────────────── */

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* If an interval has passed, begins the next one, and returns true. */
static bool region_age(struct region *r, uint64_t now) {
    if (now - r->since < options.decay_ms / 2)
        return false;
    __atomic_store_n(&r->since, now, __ATOMIC_RELAXED);
    r->surplus = r->least;
    r->least = r->dirty;
    r->retain -= r->retain / 4;
    r->most = r->used;
    r->torn = 0;
    r->locked = false;
    return true;
}

/* Is there a surplus to purge, or has an interval passed? Called without the lock. */
static bool region_is_due(struct region *r) {
    return (__atomic_load_n(&r->surplus, __ATOMIC_RELAXED) &&
            !__atomic_load_n(&r->locked, __ATOMIC_RELAXED)) ||
           now_ms() - __atomic_load_n(&r->since, __ATOMIC_RELAXED) >= options.decay_ms / 2;
}

/* Takes a portion off the end of the oldest dirty run, so that the caller can purge it without the
 * lock; NULL if there is no dirty run, or no memory for a record. */
static struct page *purge_begin(struct region *r) {
    struct page *run = r->oldest;
    if (!run)
        return NULL;
    struct page *part = run->granules > PORTION ? record_make(&slabs.pools[0], CLASSES) : run;
    if (!part)
        return NULL;
    struct page *younger = run->younger;
    run_unlink(r, run);
    if (part != run) {
        run->granules -= PORTION;
        run_split(part, run, page_end(run), PORTION);
        map_set_ends(part);
        run_link(r, run);
        if (younger) { /* run_link made it the youngest: it stays the oldest */
            r->youngest = run->older;
            run->older->younger = NULL;
            run->older = NULL;
            run->younger = r->oldest;
            r->oldest->older = run;
            r->oldest = run;
        }
    }
    return part;
}

/* Frees the portion: as clean if it was purged (`done`), else as dirty again. */
static void purge_end(struct region *r, struct page *part, bool done) {
    size_t granules = part->granules;
    r->surplus -= r->surplus < granules ? r->surplus : granules;
    part->dirty = !done;
    if (done)
        limit_refund(page_length(part));
    else
        __atomic_store_n(&r->locked, true, __ATOMIC_RELAXED);
    run_insert(r, part);
}
