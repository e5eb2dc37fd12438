/* region.h: address space reserved once, committed in steps, handed out in runs of
 * granules (64 KiB each), and taken back.
 *
 *      area.start                   area.next        area.committed
 *      ├────────┬──────┬─────┬──────┼────────────────┼──────────────────── ─ ─
 *      │ run    │ free │ run │ free │ fresh: zeroes  │ addresses without memory
 *      └────────┴──────┴─────┴──────┴────────────────┴──────────────────── ─ ─
 *
 * There are several such areas, since memory has several prices:
 *
 *      NEAR    2 MiB beside our own variables: its addresses cost no system call and no
 *              page tables of their own, and a small program needs no others
 *      PAGES   for pages of small blocks, in lanes: threads that run at the same time take
 *              theirs from different ones. Between each other's, whose records lie between
 *              each other's as well, they would be slower by up to a half, now and then: a
 *              core that walks along records fetches the next ones ahead, and takes them away
 *              from who writes them
 *      RUNS    for large blocks: many are buffers that are never full, so in most of the
 *              granules here there is less memory than among the small ones, and it would
 *              be a waste to fill one of these up with small blocks, or to come in
 *      DENSE   huge pages, for whoever fills them: heaps that have become large, and blocks
 *              of 256 KiB and more once there are many
 *
 * Free runs merge with their neighbours and wait in bins by length. They keep their
 * pages for a while, since what was wanted once is likely to be wanted again: giving
 * a page back and getting it again costs more than a dozen calls of malloc. Pages go
 * back when nobody wanted them for PURGE_DELAY, and when the region must grow while too
 * many lie idle (SLACK): then as many go as come.
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include <sys/auxv.h>
#include <sys/resource.h>
#include <time.h>

#include "../lock.h"
#include "page.h"

enum {
    EXACT = 32, /* bins for one length each; then four to each doubling */
    BINS = EXACT + 4 * 16,
    SLACK = 2,              /* half of what is in use may lie idle when the region grows */
    COMMIT_STEP = 4 << 20,  /* bytes */
    HUGE_FROM = 12 << 20,   /* bytes in use from which on large blocks come in huge pages, */
    HUGE_LEAST = 4,         /* if they have as many granules; NEAR has none that are longer */
    RECORDS_STEP = 1 << 18, /* bytes of the table: those of 128 MiB */
    PURGE_DELAY = 500,      /* ms */
    PURGE_LOOK = 100,       /* ms from one look for old runs to the next */
    LANES = 8,
};

static const uintptr_t REGION_FROM = 16ul << 40, REGION_TO = 80ul << 40;
static const size_t REGION_MOST = 256ul << 30, TABLE_MOST = 256ul << 30;

enum area_kind { NEAR, PAGES, RUNS = PAGES + LANES, DENSE, AREAS };

struct area {
    char *start, *next, *committed, *end;
    char *records; /* the table is memory up to here */
    uint64_t bin_map[2]; /* which bins are not empty */
    uint32_t bins[BINS];
};

struct region {
    struct lock lock;
    bool reserved; /* the addresses of all areas are ours already */
    uint8_t era;
    struct area areas[AREAS];
    uint64_t looked;      /* when old runs were looked for, ms */
    size_t used, dirty;   /* granules in use, and in free runs that keep their pages */
    struct region *older; /* frozen at a fork; GDB still finds its blocks */
};

/* Where the area NEAR lies. What follows a library in memory is another one's code, mostly:
 * what overflows here ends there. */
enum { NEAR_SIZE = 2 << 20 };
static char near[NEAR_SIZE + GRANULE] __attribute__((section(".bss.near"))); /* behind all of ours */

static char *region_from, *region_to; /* beyond NEAR; of all eras */

/* ── where it lies ─────────────────────────────────────────────────────────── */

/* Is a region that begins at `start` near any address that the program already uses, taken
 * modulo the window? */
static bool region_near(uintptr_t start, size_t coverage) {
    int local;
    uintptr_t used[] = {(uintptr_t)&local, getauxval(AT_PHDR), (uintptr_t)&region_near};
    for (unsigned i = 0; i < sizeof used / sizeof *used; i++)
        if ((used[i] - start + coverage / 16) % coverage < coverage / 4)
            return true;
    return false;
}

static size_t address_limit(void) {
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

/* Addresses for the table, and in `*records` how many bytes: for all addresses that there
 * are. A limit on them (ulimit -v) leaves a 32nd of itself for the table, which still covers
 * eight times the limit and more; and where the kernel has fewer to give, or valgrind, half of that,
 * and so on. */
static char *table_reserve(size_t *records, size_t limit) {
    char *memory = NULL;
    *records = TABLE_MOST;
    while (*records > GRANULE && *records > limit / 32)
        *records /= 2;
    while (*records > GRANULE && !(memory = os_reserve_readable(*records)))
        *records /= 2;
    return memory;
}

/* What lies before `start` stays empty: a guard, and number 0 means none. */
static void area_open(struct area *a, char *start, char *end) {
    a->start = a->next = a->committed = start;
    a->end = end;
    a->records = (char *)page_of(start);
}

/* The table, unless it is there from an era before. */
static bool table_place(void) {
    if (table_mask)
        return true;
    uint64_t random[2] = {0};
    if (getauxval(AT_RANDOM))
        memcpy(random, (void *)getauxval(AT_RANDOM), sizeof random);
    heap_secret = mix(random[0] ^ mix(random[1])); /* libc's own secrets are not to be seen in it */
    size_t records;
    char *memory = table_reserve(&records, address_limit());
    if (!memory)
        return false;
    table = memory;
    table_mask = records - sizeof(struct page);
    return true;
}

/* So many bytes of addresses have a record of their own. */
static size_t table_coverage(void) {
    return (table_mask + sizeof(struct page)) << (GRANULE_BITS - RECORD_BITS);
}

/* Addresses for the areas beyond NEAR; under a limit these are taken step by step. The last
 * record of the table stays out of it: one behind a run is looked at. */
static bool region_place(struct region *r) {
    size_t limit = address_limit();
    size_t coverage = table_coverage();
    size_t size = coverage / 8 < REGION_MOST ? coverage / 8 : REGION_MOST;
    char *older = r->older ? r->older->areas[PAGES].start : NULL;
    uintptr_t at = older ? (uintptr_t)older - GRANULE + size : REGION_FROM;
    for (; at < REGION_TO; at += size) {
        if (region_near(at, coverage) || (at + size) % coverage == 0 || (older && at / coverage != window / coverage))
            continue;
        r->reserved = os_reserve_at((void *)at, size);
        if (!r->reserved && limit == RLIM_INFINITY)
            continue;
        if (!r->areas[NEAR].start) /* then the table is about all addresses, and others read it */
            window = at / coverage * coverage;
        if (!older)
            region_from = (char *)at;
        char *end = region_to = (char *)at + size, *middle = end - size / 2;
        unsigned lanes = r->reserved ? LANES : 1; /* under a limit, addresses are too few */
        for (unsigned i = 0; i < lanes; i++)
            area_open(&r->areas[PAGES + i], (char *)at + size / 4 / lanes * i + GRANULE,
                      (char *)at + size / 4 / lanes * (i + 1));
        area_open(&r->areas[RUNS], end - size / 4 * 3 + GRANULE, middle);
        area_open(&r->areas[DENSE], middle + HUGE_PAGE, end);
        if (r->reserved)
            os_make_huge(middle, size / 2);
        return true;
    }
    return false;
}

/* Has what the kernel mapped at `p` a record of its own? In a table that is smaller than the
 * addresses, it may be that of a page of ours: then the block would be taken for one there. */
static bool region_spares(struct region *r, void *p) {
    if (!table_place())
        return false;
    if (table_mask + sizeof(struct page) == TABLE_MOST)
        return true;
    char *same = page_start(page_of(p));
    return (r->areas[PAGES].start || region_place(r)) && (same < region_from || same >= region_to);
}

/* May the region have `size` bytes more? A limit that the program sets itself comes when
 * the addresses are ours already, and the kernel would not refuse memory behind them. So
 * as many are taken once more, for the kernel to count. */
static bool region_may_grow(struct region *r, size_t size) {
    return !r->reserved || address_limit() == RLIM_INFINITY || os_reserve(size);
}

/* Memory behind the records of what ends at `end`. */
static bool records_commit(struct area *a, char *end) {
    char *records = (char *)page_of(end) + sizeof(struct page);
    if (records > a->records) {
        size_t step = round_up((size_t)(records - a->records), RECORDS_STEP);
        size_t rest = (size_t)(table + table_mask + sizeof(struct page) - a->records);
        if (step > rest)
            step = rest;
        if (!os_commit(a->records, step))
            return false;
        a->records += step;
    }
    return true;
}

/* Memory behind the next `size` bytes of addresses, and behind their records. */
static bool area_commit(struct region *r, struct area *a, size_t size) {
    if (!region_may_grow(r, size) || !records_commit(a, a->committed + size) ||
        (!r->reserved && !os_reserve_at(a->committed, size)) || !os_commit(a->committed, size))
        return false;
    if (!r->reserved && a == &r->areas[DENSE])
        os_make_huge(a->committed, size);
    a->committed += size;
    return true;
}

/* Fresh memory behind all that is in use; of the area only if that is there already. */
static struct page *area_extend(struct region *r, struct area *a, uint32_t granules) {
    size_t size = (size_t)granules << GRANULE_BITS;
    if ((size_t)(a->end - a->next) < size)
        return NULL;
    if (a->next + size > a->committed) {
        size_t missing = (size_t)(a->next + size - a->committed);
        size_t step = (size_t)(align_up(a->next + size, COMMIT_STEP) - a->committed);
        if ((step >= (size_t)(a->end - a->committed) || !area_commit(r, a, step)) &&
            !area_commit(r, a, missing))
            return NULL;
    }
    struct page *run = page_of(a->next);
    a->next += size;
    run->dirty = false;
    return run;
}

/* The area NEAR is for the first region, and for a table of all addresses: in a smaller one,
 * its records may be those of the program's own memory. */
static bool near_open(struct region *r) {
    struct area *a = &r->areas[NEAR];
    if (a->start || r->era || table_mask + sizeof(struct page) < TABLE_MOST)
        return true;
    char *start = align_up(near, GRANULE);
    area_open(a, start, start + NEAR_SIZE);
    a->committed = a->end;
    if (records_commit(a, a->end))
        return true;
    *a = (struct area){0};
    return false;
}

/* Fresh memory: for the first lane, and for what is in none, near as long as there is some;
 * then of the kind that is asked for, or of another one. */
static struct page *region_extend(struct region *r, uint32_t granules, enum area_kind kind) {
    if (!table_place() || !near_open(r))
        return os_refuse();
    struct page *run = NULL;
    if (granules <= HUGE_LEAST && (kind == PAGES || kind >= RUNS))
        run = area_extend(r, &r->areas[NEAR], granules);
    if (!run && !r->areas[PAGES].start)
        region_place(r);
    for (unsigned i = 0; i <= AREAS && !run; i++) /* the others after it */
        run = area_extend(r, &r->areas[i ? i - 1 : kind], granules);
    return run ? run : os_refuse();
}

/* ── free runs ─────────────────────────────────────────────────────────────── */

static unsigned run_bin(uint32_t granules) {
    if (granules <= EXACT)
        return granules - 1;
    unsigned log = 31 - (unsigned)__builtin_clz(granules - 1);
    return EXACT + (log - 5) * 4 + ((granules - 1) >> (log - 2)) % 4;
}

/* A neighbour in use may just become something else (large_free), but nothing free. */
static bool run_is_free(struct page *run) {
    return __atomic_load_n(&run->kind, __ATOMIC_RELAXED) == PAGE_FREE;
}

/* Will fresh memory for large blocks be filled soon? Small ones have heaps to tell that. */
static enum area_kind large_area(struct region *r, uint32_t granules) {
    return granules >= HUGE_LEAST && r->used << GRANULE_BITS >= HUGE_FROM ? DENSE : RUNS;
}

/* The area that an address is in, or NULL. */
static struct area *area_of(struct region *r, const void *p) {
    for (struct area *a = r->areas; a < r->areas + AREAS; a++)
        if ((char *)p >= a->start && (char *)p < a->next)
            return a;
    return NULL;
}

/* Both ends of a free run say how long it is, so that its neighbours find it. */
static void run_insert(struct region *r, struct page *run, uint32_t granules, bool dirty,
                       uint64_t since) {
    run->kind = run[granules - 1].kind = PAGE_FREE;
    run->granules = run[granules - 1].granules = granules;
    run->dirty = dirty;
    run->key = since;
    unsigned bin = run_bin(granules);
    struct area *a = area_of(r, page_start(run));
    list_push(&a->bins[bin], run);
    a->bin_map[bin / 64] |= 1ull << bin % 64;
    r->dirty += dirty ? granules : 0;
}

static void run_remove(struct region *r, struct page *run) {
    unsigned bin = run_bin(run->granules);
    struct area *a = area_of(r, page_start(run));
    list_remove(&a->bins[bin], run);
    if (!a->bins[bin])
        a->bin_map[bin / 64] &= ~(1ull << bin % 64);
    r->dirty -= run->dirty ? run->granules : 0;
    run->kind = run[run->granules - 1].kind = PAGE_GONE;
}

/* A free run that is long enough: in its own bin or, from the next bin on, any. */
static struct page *area_find(struct area *a, uint32_t granules) {
    unsigned bin = run_bin(granules);
    for (uint32_t i = a->bins[bin]; i; i = page_at(i)->next)
        if (page_at(i)->granules >= granules)
            return page_at(i);
    for (bin++; bin < BINS; bin = (bin | 63) + 1) {
        uint64_t map = a->bin_map[bin / 64] & ~0ull << bin % 64;
        if (map)
            return page_at(a->bins[bin / 64 * 64 + (unsigned)__builtin_ctzll(map)]);
    }
    return NULL;
}

/* The same in any area, first in that of its kind; in one of another kind, but for NEAR and
 * the other lanes, only with its memory. */
static struct page *run_find(struct region *r, uint32_t granules, enum area_kind kind) {
    unsigned alike = kind < RUNS ? RUNS : PAGES;
    for (unsigned i = 0; i <= AREAS; i++) {
        struct page *run = area_find(&r->areas[i ? i - 1 : kind], granules);
        if (run && (run->dirty || i <= alike))
            return run;
    }
    return NULL;
}

static size_t run_purge(struct region *r, struct page *run) {
    size_t size = (size_t)run->granules << GRANULE_BITS;
    if (!os_purge(page_start(run), size))
        return 0;
    if (size >= HUGE_PAGE && r->used << GRANULE_BITS >= HUGE_FROM)
        os_make_huge(page_start(run), size); /* it was in use, and will be again */
    run->dirty = false;
    r->dirty -= run->granules;
    return run->granules;
}

/* Gives pages back, of the longest runs first: of those that nobody wanted since
 * `before`, until `enough` granules are gone. */
static size_t region_purge(struct region *r, uint64_t before, size_t enough) {
    size_t gone = 0;
    for (unsigned bin = BINS * AREAS; bin-- > 0 && r->dirty && gone < enough;)
        for (uint32_t i = r->areas[bin % AREAS].bins[bin / AREAS]; i && gone < enough;
             i = page_at(i)->next) {
            struct page *run = page_at(i);
            if (run->dirty && run->key <= before)
                gone += run_purge(r, run);
        }
    return gone;
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ── runs in use ───────────────────────────────────────────────────────────── */

/* A run of granules, whose first record says in `dirty` whether it may hold old
 * data. NULL with errno ENOMEM. */
static struct page *run_take(struct region *r, uint32_t granules, enum area_kind kind) {
    struct page *run = run_find(r, granules, kind);
    if (!run) {
        if (r->dirty > r->used / SLACK)
            region_purge(r, UINT64_MAX, granules);
        if (!(run = region_extend(r, granules, kind)))
            return NULL;
    } else {
        run_remove(r, run);
        if (run->granules > granules)
            run_insert(r, run + granules, run->granules - granules, run->dirty, run->key);
    }
    run->granules = granules;
    run->era = r->era;
    r->used += granules;
    return run;
}

/* Now and then, what nobody wanted for long goes back. */
static void region_look(struct region *r, uint64_t now) {
    if (now - r->looked < PURGE_LOOK)
        return;
    __atomic_store_n(&r->looked, now, __ATOMIC_RELAXED);
    region_purge(r, now - PURGE_DELAY, SIZE_MAX);
}

/* The same question without the lock, and without the clock where nothing lies idle. */
static bool region_is_due(struct region *r) {
    return __atomic_load_n(&r->dirty, __ATOMIC_RELAXED) &&
           now_ms() - __atomic_load_n(&r->looked, __ATOMIC_RELAXED) >= PURGE_LOOK;
}

static void run_give(struct region *r, struct page *run, uint32_t granules, bool dirty) {
    if (run->era != r->era)
        return; /* frozen at a fork */
    r->used -= granules;
    run->kind = PAGE_GONE;
    run->home = NULL;
    struct page *next = run + granules, *before = run - 1;
    uint64_t now = now_ms(), since = now;
    uint32_t most = granules; /* what is used now and then is as old as the rest of its run */
    if (run_is_free(next)) {
        run_remove(r, next);
        if (next->dirty && next->granules > most)
            most = next->granules, since = next->key;
        dirty |= next->dirty;
        granules += next->granules;
    }
    if (run_is_free(before)) {
        run = before - (before->granules - 1);
        run_remove(r, run);
        if (run->dirty && run->granules > most)
            since = run->key;
        dirty |= run->dirty;
        granules += run->granules;
    }
    run_insert(r, run, granules, dirty, since);
    region_look(r, now);
}

/* Changes the length of a run where it stands; false if something is in the way. */
static bool run_resize(struct region *r, struct page *run, uint32_t granules) {
    uint32_t old = run->granules;
    if (run->era != r->era)
        return false; /* frozen at a fork */
    if (granules < old) {
        struct page *rest = run + granules;
        rest->era = run->era;
        run->granules = granules;
        run_give(r, rest, old - granules, true);
        return true;
    }
    struct page *next = run + old;
    uint32_t more = granules - old;
    if (next->kind == PAGE_FREE && next->granules >= more) {
        run_remove(r, next);
        if (next->granules > more)
            run_insert(r, next + more, next->granules - more, next->dirty, next->key);
    } else {
        struct area *a = area_of(r, page_start(run));
        if (page_start(next) != a->next || !area_extend(r, a, more))
            return false;
    }
    r->used += more;
    run->granules = granules;
    return true;
}
