/* region.h: memory from the kernel in arenas, handed out in runs of granules (64 KiB each),
 * taken back, and given back to the kernel when it lies idle.
 *
 *      ┌ arena ──────────────────────────────────────────┐   ┌ arena ───── …
 *      │ run │ free, dirty │ run │ run │ free, clean      │   │
 *      └─────────────────────────────────────────────────┘   └────────────
 *
 * The first arena lies beside our own variables: its addresses cost no system call and no page
 * tables of their own, and a small program needs no other. Each further one is as long as
 * a quarter of the heap, up to ARENA_MOST; they lie where the kernel puts them, and never go back. There are several kinds of memory, since memory has
 * several prices:
 *
 *      PAGES   for pages of small blocks
 *      RUNS    for large blocks: many are buffers that are never filled. Between them, small
 *              pages would keep long runs from forming again
 *      DENSE   huge pages, for memory that is known to be filled: heaps that have become large,
 *              and large blocks once as many bytes of others were seen to be full
 *
 * A free run is clean (untouched, or purged: it reads as zero) or dirty (it keeps its memory).
 * Neighbours of one kind merge, and wait in bins by length. What was wanted once is likely to
 * be wanted again, and a page fault costs more than a dozen calls of malloc, so dirty runs are
 * used first, and go back only when they are surplus: more than was wanted at any moment of a
 * whole interval (the low-water mark of `dirty`). A program that frees nearly everything may not
 * call us again, so then what exceeds `keep` goes back at once; `keep` grows when that memory
 * was wanted again soon.
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include <time.h>

#include "../base/lock.h"
#include "../base/limit.h"
#include "arena.h"

enum {
    EXACT = 32,            /* bins for one length each; then eight to each doubling */
    BINS = EXACT + 8 * 20,
    TRIES = 8,             /* runs of its own bin that are looked at before the next bin */
    ARENA_STEP = 4 << 20,  /* bytes, at least */
    ARENA_MOST = 64 << 20, /* bytes that are taken ahead, at most */
    PIECE = 16,            /* granules that are purged at a time */
    KEEP = 256,            /* idle granules that stay when nearly everything was freed, at least */
    WATCHED = 4,
};

enum area_kind { PAGES, RUNS, DENSE, AREAS };

struct bins {
    uint64_t used[BINS / 64]; /* which are not empty */
    struct page *first[BINS];
};

struct region {
    struct lock lock;
    uint8_t era;
    struct bins free[AREAS][2];     /* clean, dirty */
    struct page *oldest, *youngest; /* dirty free runs */
    size_t used, dirty;             /* granules in use, and in dirty free runs */
    size_t least;                   /* the least that `dirty` was since `since` */
    size_t surplus;                 /* granules that are to be purged */
    size_t keep;                    /* dirty granules that a large teardown leaves, */
    size_t most;                    /* at most as many as were in use lately */
    size_t torn;                    /* granules purged by teardowns, and not wanted since */
    struct {                        /* the last large blocks in fresh memory */
        const char *start;
        uint32_t granules;
    } watched[WATCHED];
    uint32_t watch, blind;          /* the next of them; how many are not looked at */
    uint32_t doubts;                /* how many in a row were not filled */
    uint32_t credit;                /* granules of large blocks that may come in huge pages */
    uint64_t since;                 /* ms */
    bool locked;                    /* the kernel refused a purge: memory is locked */
    struct region *older;           /* frozen at a fork; GDB still finds its blocks */
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

static bool runs_merge(const struct page *a, const struct page *b) {
    return a->kind == PAGE_FREE && a->area == b->area && a->dirty == b->dirty && a->era == b->era;
}

/* Makes it a free run, one with its neighbours of the same kind. */
static void run_insert(struct region *r, struct page *run) {
    struct page *before = page_of(run->start - 1), *next = page_of(page_end(run));
    map_clear(run);
    if (runs_merge(before, run) && page_end(before) == run->start) {
        run_unlink(r, before);
        map_clear(before);
        run->start = before->start;
        run->granules += before->granules;
        record_free(before);
    }
    if (runs_merge(next, run) && next->start == page_end(run)) {
        run_unlink(r, next);
        map_clear(next);
        run->granules += next->granules;
        record_free(next);
    }
    run_link(r, run);
}

/* A free run that is long enough: one of its own bin, or any of the next one that is not empty.
 * Of its own bin only a few are looked at, since all of them may be slightly too short. */
static struct page *bins_find(struct bins *b, uint32_t granules) {
    unsigned bin = run_bin(granules), tries = TRIES;
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

/* Dirty runs come first, of any kind; clean ones only of the kind that is asked for, but for
 * short ones while all of the heap lies near. */
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

/* A clean run from `start` on, with a record that was made for it. */
static void region_add(struct region *r, struct page *record, char *start, size_t length,
                       enum area_kind kind) {
    record->start = start;
    record->granules = (uint32_t)(length >> GRANULE_BITS);
    record->area = (uint8_t)kind;
    record->dirty = false;
    record->era = r->era;
    run_insert(r, record);
}

/* The first arena, whose first granule is for slabs. */
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
    if (!limit_take(length))
        return false;
    size_t alignment = length % HUGE_PAGE ? GRANULE : HUGE_PAGE;
    struct page *record = record_make(&slabs.pools[0], CLASSES);
    char *start = record ? os_map_aligned(length, alignment) : NULL;
    if (start && map_cover(start, start + length) && arenas_add(start, start + length)) {
        if (kind == DENSE && options.huge)
            os_make_huge(start, length);
        region_add(r, record, start, length, kind);
        return true;
    }
    if (start)
        os_unmap(start, length);
    if (record)
        record_free(record);
    limit_give(length);
    return false;
}

/* A quarter of the heap ahead; or just what is missing, where the kernel refuses that. */
static bool region_extend(struct region *r, uint32_t granules, enum area_kind kind) {
    size_t exact = (size_t)granules << GRANULE_BITS, ahead = r->used << GRANULE_BITS >> 2;
    if (ahead > ARENA_MOST)
        ahead = ARENA_MOST;
    size_t wanted = round_up(exact > ahead ? exact : ahead, ARENA_STEP);
    return arena_make(r, wanted, kind) || (wanted != exact && arena_make(r, exact, kind));
}

/* ── runs in use ───────────────────────────────────────────────────────────── */

/* Gives the first granules of a free run to `record`, a run in use from then on. */
static bool run_cut(struct region *r, struct page *run, uint32_t granules, struct page *record) {
    struct page *rest = run->granules > granules ? record_make(&slabs.pools[0], CLASSES) : NULL;
    if (run->granules > granules && !rest)
        return false;
    run_unlink(r, run);
    record->start = record->base = run->start;
    record->granules = granules;
    record->dirty = run->dirty;
    record->area = run->area;
    record->era = r->era;
    record->kind = PAGE_BUSY;
    if (rest) {
        rest->start = page_end(record);
        rest->granules = run->granules - granules;
        rest->area = run->area;
        rest->dirty = run->dirty;
        rest->era = run->era;
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

/* Makes `record` a run of so many granules; `dirty` says whether it may hold old data. False
 * with errno ENOMEM. */
static bool run_take(struct region *r, uint32_t granules, enum area_kind kind,
                     struct page *record) {
    if (!near_open(r))
        return os_refuse();
    struct page *run = run_find(r, granules, kind);
    if (!run) {
        run = region_extend(r, granules, kind) ? run_find(r, granules, kind) : NULL;
        for (unsigned i = 0; i < AREAS && !run; i++) /* at the limit, any kind will do */
            run = bins_find(&r->free[i][false], granules);
        if (!run)
            return os_refuse();
    } else if (!run->dirty && r->torn) { /* what a teardown gave back is wanted again */
        size_t again = granules < r->torn ? granules : r->torn;
        r->torn -= again;
        r->keep = r->keep + 2 * again < r->most ? r->keep + 2 * again : r->most;
    }
    return run_cut(r, run, granules, record) || os_refuse();
}

/* The run is free from now on, with its record. */
static void run_give(struct region *r, struct page *run, bool dirty) {
    run->owner = NULL;
    run->limit = 0;
    run->kind = PAGE_BUSY;
    if (run->era != r->era)
        return; /* frozen at a fork: nobody's from now on */
    r->used -= run->granules;
    run->dirty = dirty;
    run_insert(r, run);
}

/* Granules of the free runs behind a run, as far as `wanted`: dirty ones and clean ones follow each
 * other without being one. */
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

/* Grows or shrinks a run where it stands; false if something is in the way. `dirty`: what it
 * gives back may hold old data. */
static bool run_resize(struct region *r, struct page *run, uint32_t granules, bool dirty) {
    if (run->era != r->era)
        return false; /* frozen at a fork */
    if (granules == run->granules)
        return true;
    if (granules < run->granules) {
        struct page *rest = record_make(&slabs.pools[0], CLASSES);
        if (!rest)
            return true; /* it keeps what it has */
        rest->start = run->start + ((size_t)granules << GRANULE_BITS);
        rest->granules = run->granules - granules;
        rest->area = run->area;
        rest->era = run->era;
        run->granules = granules;
        map_set(run, granules - 1);
        run_give(r, rest, dirty);
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

/* An interval has passed: what was idle all the time is surplus. */
static bool region_age(struct region *r, uint64_t now) {
    if (now - r->since < options.decay_ms / 2)
        return false;
    __atomic_store_n(&r->since, now, __ATOMIC_RELAXED);
    r->surplus = r->least;
    r->least = r->dirty;
    r->keep -= r->keep / 4;
    r->most = r->used;
    r->torn = 0;
    r->locked = false;
    return true;
}

/* How many idle granules a teardown leaves: a quarter as many as are in use. */
static size_t region_keeps(struct region *r) {
    size_t keep = r->used / 4 > r->keep ? r->used / 4 : r->keep;
    return keep > KEEP ? keep : KEEP;
}

/* Without the lock: is there anything to purge, or has an interval passed? */
static bool region_is_due(struct region *r) {
    return (__atomic_load_n(&r->surplus, __ATOMIC_RELAXED) &&
            !__atomic_load_n(&r->locked, __ATOMIC_RELAXED)) ||
           now_ms() - __atomic_load_n(&r->since, __ATOMIC_RELAXED) >= options.decay_ms / 2;
}

/* The end of the oldest dirty run, to be purged without the lock; NULL if there is none. */
static struct page *purge_begin(struct region *r) {
    struct page *run = r->oldest;
    if (!run)
        return NULL;
    uint32_t piece = PIECE; /* or what is behind the last boundary of a huge page */
    if (run->area == DENSE)
        piece = (uint32_t)((((uintptr_t)page_end(run) - GRANULE) % HUGE_PAGE + GRANULE) >> GRANULE_BITS);
    struct page *part = run->granules > piece ? record_make(&slabs.pools[0], CLASSES) : run;
    if (!part)
        return NULL;
    struct page *younger = run->younger;
    run_unlink(r, run);
    if (part != run) {
        run->granules -= piece;
        part->start = page_end(run);
        part->granules = piece;
        part->area = run->area;
        part->era = run->era;
        part->dirty = true;
        part->kind = PAGE_BUSY;
        map_set_ends(part);
        run_link(r, run);
        if (younger) { /* it is still the oldest */
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

static void purge_end(struct region *r, struct page *part, bool done) {
    size_t granules = part->granules;
    r->surplus -= r->surplus < granules ? r->surplus : granules;
    part->dirty = !done;
    if (!done)
        __atomic_store_n(&r->locked, true, __ATOMIC_RELAXED);
    run_insert(r, part);
}
