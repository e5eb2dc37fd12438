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

#include <sys/auxv.h>
#include <time.h>

#include "../lock.h"
#include "../limit.h"
#include "page.h"

enum {
    EXACT = 32,            /* bins for one length each; then eight to each doubling */
    BINS = EXACT + 8 * 20,
    TRIES = 8,             /* runs of its own bin that are looked at before the next bin */
    ARENA_STEP = 4 << 20,  /* bytes, at least */
    ARENA_MOST = 64 << 20, /* bytes that are taken ahead, at most */
    PIECE = 16,            /* granules that are purged at a time */
    KEEP = 256,            /* idle granules that stay when nearly everything was freed, at least */
    LANES = 8,
    WATCHED = 4,
    MAPPED = 64,           /* granules of a run that have an entry each: pages have four at most */
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
    uint32_t credit;                /* granules of large blocks that may come in huge pages */
    uint64_t since;                 /* ms */
    bool locked;                    /* the kernel refused a purge: memory is locked */
    struct region *older;           /* frozen at a fork; GDB still finds its blocks */
};

/* ── records ───────────────────────────────────────────────────────────────── */

/* Records are cut from chunks of a granule, which threads that run at the same time take
 * from different lanes. Between each other's they would be slower by up to a half: a core that
 * walks along records fetches the next ones ahead, and takes them away from their writer. */
struct chunk {
    struct lane *lane;
    struct chunk *next; /* of the empty ones */
    uint32_t used, live; /* bytes, records */
};

struct lane {
    struct chunk *chunk;              /* the one in use */
    struct page *spare[CLASSES + 1];  /* records to use again, by class; then those of runs */
};

enum { RECORDS_STEP = 16 /* chunks that are reserved at a time */ };
static struct {
    struct lane lanes[LANES];
    struct chunk *empty, *clean; /* without a record: purged or not */
    char *next, *end; /* chunks that were never used */
    size_t bytes;     /* committed */
} slabs;

static inline size_t record_size(unsigned class) {
    size_t blocks = class < CLASSES ? ((size_t)class_granules(class_size(class)) << GRANULE_BITS) /
                                          class_size(class)
                                    : 0;
    return round_up(sizeof(struct page) + blocks * sizeof(uint16_t), 64);
}

/* Where the first arena lies. What follows a library in memory is another one's code, mostly:
 * what overflows here ends there. */
enum { NEAR_SIZE = 2 << 20 };
static char near[NEAR_SIZE + GRANULE] __attribute__((section(".bss.near"))); /* behind all of ours */
static inline char *near_start(void) { return align_up(near, GRANULE); }

/* A chunk between guard pages, or the first granule of the area near. */
static struct chunk *chunk_make(void) {
    struct chunk **list = slabs.empty ? &slabs.empty : &slabs.clean, *c = *list;
    if (c) {
        *list = c->next;
        return c;
    }
    if (!slabs.bytes) {
        slabs.bytes = GRANULE;
        return (struct chunk *)near_start();
    }
    if (slabs.next == slabs.end) {
        size_t length = (RECORDS_STEP + 3) * GRANULE;
        char *memory = os_reserve(length);
        if (!memory)
            return NULL;
        slabs.next = align_up(memory + GRANULE, GRANULE);
        slabs.end = slabs.next + RECORDS_STEP * GRANULE;
    }
    if (!os_commit(slabs.next, GRANULE))
        return NULL;
    c = (struct chunk *)slabs.next;
    slabs.next += GRANULE;
    slabs.bytes += GRANULE;
    return c;
}

/* NULL with errno ENOMEM. */
static void *record_cut(struct lane *lane, size_t size) {
    struct chunk *c = lane->chunk;
    if (!c || c->used + size > GRANULE) {
        if (!(c = chunk_make()))
            return os_refuse();
        *c = (struct chunk){.lane = lane, .used = 64};
        lane->chunk = c;
    }
    c->live++;
    c->used += (uint32_t)size;
    return (char *)c + c->used - size;
}

static struct page *record_make(struct lane *lane, unsigned class) {
    struct page *record = lane->spare[class];
    if (record) {
        list_remove(&lane->spare[class], record);
        struct chunk *c = (struct chunk *)((uintptr_t)record & ~(uintptr_t)(GRANULE - 1));
        c->live++;
    } else if ((record = record_cut(lane, record_size(class)))) {
        *record = (struct page){.class = (uint8_t)class}; /* its chunk may have held others before */
    }
    return record;
}

/* A chunk without a live record: its records leave the lists, and its memory can go. */
static void chunk_clear(struct chunk *c) {
    for (uint32_t at = 64; at < c->used;) {
        struct page *record = (struct page *)((char *)c + at);
        list_remove(&c->lane->spare[record->class], record);
        at += (uint32_t)record_size(record->class);
    }
    c->next = slabs.empty;
    slabs.empty = c;
}

/* No entry of the map leads to the record any more (map_clear). */
static void record_free(struct page *record) {
    struct chunk *c = (struct chunk *)((uintptr_t)record & ~(uintptr_t)(GRANULE - 1));
    record->kind = PAGE_GONE;
    record->home = NULL;
    record->bound = record->limit = 0;
    record->granules = 0;
    list_push(&c->lane->spare[record->class], record);
    if (--c->live == 0 && c != c->lane->chunk)
        chunk_clear(c);
}

/* ── arenas, and the map that covers them ──────────────────────────────────── */

struct arena {
    char *start, *end;
};

/* Of all eras. Adjacent ones are one; a reader without the lock sees each end change alone. */
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
    if (below && above) { /* it fills a gap: a free run may reach over all three */
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

/* Would two of these granules share an entry of a map of that length? */
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

/* Is each granule's entry still its own in a map of that length? */
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

/* Makes the map as long as it takes for the granules from start to end to have entries of
 * their own. False without memory for it. */
static bool map_cover(char *start, char *end) {
    struct map *old = atomic_load_explicit(&page_map, memory_order_relaxed);
    uintptr_t mask = old->mask;
    if (!map_shares(start, end, mask))
        return true;
    do
        mask = 2 * mask + 1;
    while (mask < 1ul << 31 && !map_serves(start, end, mask));
    struct map *new = mask < 1ul << 31 ? os_map(sizeof *new + (mask + 1) * sizeof *new->entry) : NULL;
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

static void map_set(const struct page *page, uint32_t granule) {
    struct map *m = atomic_load_explicit(&page_map, memory_order_relaxed);
    map_enter(m, page->start + ((size_t)granule << GRANULE_BITS), page);
}

/* The ends of a run, for its neighbours; the first few of one in use, for pointers into it. */
static void map_set_ends(const struct page *page) {
    map_set(page, 0);
    map_set(page, page->granules - 1);
}
static void map_set_all(const struct page *page) {
    for (uint32_t i = 0; i < page->granules && i < MAPPED; i++)
        map_set(page, i);
    map_set(page, page->granules - 1);
}

/* Inside of a free run no entry leads anywhere: records come and go. */
static void map_clear(const struct page *page) {
    struct map *m = atomic_load_explicit(&page_map, memory_order_relaxed);
    char *end = page_end(page);
    for (char *p = page->start; p < end && p < page->start + ((size_t)MAPPED << GRANULE_BITS); p += GRANULE)
        map_enter(m, p, (struct page *)m);
    map_enter(m, end - GRANULE, (struct page *)m);
}

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
    struct page *record = record_make(&slabs.lanes[0], CLASSES);
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
    struct page *record = record_make(&slabs.lanes[0], CLASSES);
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
    struct page *rest = run->granules > granules ? record_make(&slabs.lanes[0], CLASSES) : NULL;
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
    run->home = NULL;
    run->bound = run->limit = 0;
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
        struct page *rest = record_make(&slabs.lanes[0], CLASSES);
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
        struct page *part = record_make(&slabs.lanes[0], CLASSES);
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

/* How many idle granules a teardown leaves: twice as many as are in use. */
static size_t region_keeps(struct region *r) {
    size_t keep = 2 * r->used > r->keep ? 2 * r->used : r->keep;
    return keep > KEEP ? keep : KEEP;
}

/* Without the lock: is there anything to purge? */
static bool region_is_due(struct region *r) {
    if (__atomic_load_n(&r->locked, __ATOMIC_RELAXED) || !__atomic_load_n(&r->dirty, __ATOMIC_RELAXED))
        return false;
    return __atomic_load_n(&r->surplus, __ATOMIC_RELAXED) ||
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
    struct page *part = run->granules > piece ? record_make(&slabs.lanes[0], CLASSES) : run;
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
