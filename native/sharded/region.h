/* region.h: address space reserved once, committed in steps, handed out in runs of
 * granules (64 KiB each), and taken back.
 *
 *      region.start                 region.next      region.committed
 *      ├────────┬──────┬─────┬──────┼────────────────┼──────────────────── ─ ─
 *      │ run    │ free │ run │ free │ fresh: zeroes  │ addresses without memory
 *      └────────┴──────┴─────┴──────┴────────────────┴──────────────────── ─ ─
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
    HUGE_FROM = 8 << 20,    /* bytes in use from which on large blocks come in huge pages */
    RECORDS_STEP = 1 << 18, /* bytes of the table: those of 128 MiB */
    PURGE_DELAY = 500,      /* ms */
    PURGE_LOOK = 100,       /* ms from one look for old runs to the next */
};

static const size_t REGION_MOST = 256ul << 30;

struct region {
    struct lock lock;
    char *start, *next, *committed, *end;
    char *records; /* the table is memory up to here */
    bool reserved; /* the addresses up to `end` are ours already */
    uint8_t era;
    uint64_t bin_map[2]; /* which bins are not empty */
    uint32_t bins[BINS];
    uint64_t looked;    /* when old runs were looked for, ms */
    size_t used, dirty; /* granules in use, and in free runs that keep their pages */
    struct region *older; /* frozen at a fork; GDB still finds its blocks */
};

/* ── where it lies ─────────────────────────────────────────────────────────── */

/* Is a region that begins at `start` near any address that the program already uses,
 * taken modulo the window? */
static bool region_near(uintptr_t start, size_t coverage) {
    int local;
    uintptr_t used[] = {(uintptr_t)&local, getauxval(AT_PHDR), (uintptr_t)&region_near};
    for (unsigned i = 0; i < sizeof used / sizeof *used; i++)
        if ((used[i] - start + coverage / 16) % coverage < coverage / 4)
            return true;
    return false;
}

/* Addresses for the table, and in `*records` how many bytes: for all addresses that there
 * are. A limit on them (ulimit -v) leaves a 32nd of itself for the table, which still covers
 * sixteen times the limit; and where the kernel has fewer to give, or valgrind, half of that,
 * and so on. */
static char *table_reserve(size_t *records, size_t limit) {
    char *memory = NULL;
    *records = 256ul << 30;
    while (*records > GRANULE && *records > limit / 32)
        *records /= 2;
    while (*records > GRANULE && !(memory = os_reserve_readable(*records)))
        *records /= 2;
    return memory;
}

/* The table, unless it is there from an era before, and addresses for a region; under a
 * limit these are taken step by step. */
static bool region_place(struct region *r) {
    uint64_t random[2] = {0};
    if (getauxval(AT_RANDOM))
        memcpy(random, (void *)getauxval(AT_RANDOM), sizeof random);
    heap_secret = mix(random[0] ^ mix(random[1])); /* libc's own secrets are not to be seen in it */
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0)
        limit.rlim_cur = RLIM_INFINITY;
    size_t records = table_mask + sizeof(struct page);
    char *memory = table_mask ? table : table_reserve(&records, limit.rlim_cur);
    if (!memory)
        return false;
    size_t coverage = records << (GRANULE_BITS - RECORD_BITS);
    size_t size = coverage / 8 < REGION_MOST ? coverage / 8 : REGION_MOST;
    for (uintptr_t at = 16ul << 40; at < 80ul << 40; at += size) {
        if (region_near(at, coverage) || (table_mask && at / coverage != window / coverage))
            continue;
        r->reserved = os_reserve_at((void *)at, size);
        if (!r->reserved && limit.rlim_cur == RLIM_INFINITY)
            continue;
        r->start = (char *)at;
        r->end = r->start + size;
        /* the first granule stays empty: a guard, and number 0 means none */
        r->next = r->committed = r->start + GRANULE;
        window = at / coverage * coverage;
        table = memory;
        table_mask = records - sizeof(struct page);
        r->records = (char *)page_of(r->start);
        return true;
    }
    return false;
}

/* May the region have `size` bytes more? A limit that the program sets itself comes when
 * the addresses are ours already, and the kernel would not refuse memory behind them. So
 * as many are taken once more, for the kernel to count. */
static bool region_may_grow(struct region *r, size_t size) {
    struct rlimit limit;
    return !r->reserved || getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
           os_reserve(size);
}

/* Memory behind the next `size` bytes of addresses, and behind their records. Where it
 * will be filled in no time it comes in huge pages, and the kernel is asked once instead
 * of 512 times. */
static bool region_commit(struct region *r, size_t size, bool dense) {
    if (!region_may_grow(r, size))
        return false;
    char *records = (char *)page_of(r->committed + size) + sizeof(struct page);
    if (records > r->records) {
        size_t step = round_up((size_t)(records - r->records), RECORDS_STEP);
        if (!os_commit(r->records, step))
            return false;
        r->records += step;
    }
    if ((!r->reserved && !os_reserve_at(r->committed, size)) || !os_commit(r->committed, size))
        return false;
    if (dense)
        os_make_huge(r->committed, size);
    r->committed += size;
    return true;
}

/* Fresh memory behind all that is in use. */
static struct page *region_extend(struct region *r, uint32_t granules, bool dense) {
    size_t size = (size_t)granules << GRANULE_BITS;
    if (!r->start && !region_place(r))
        return os_refuse();
    if ((size_t)(r->end - r->next) < size + GRANULE)
        return os_refuse();
    if (r->next + size > r->committed) {
        size_t missing = (size_t)(r->next + size - r->committed);
        size_t step = (size_t)(align_up(r->next + size, COMMIT_STEP) - r->committed);
        if ((step >= (size_t)(r->end - r->committed) || !region_commit(r, step, dense)) &&
            !region_commit(r, missing, dense))
            return os_refuse();
    }
    struct page *run = page_of(r->next);
    r->next += size;
    run->dirty = false;
    return run;
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
static bool region_is_dense(struct region *r) { return r->used << GRANULE_BITS >= HUGE_FROM; }

/* Both ends of a free run say how long it is, so that its neighbours find it. */
static void run_insert(struct region *r, struct page *run, uint32_t granules, bool dirty,
                       uint64_t since) {
    run->kind = run[granules - 1].kind = PAGE_FREE;
    run->granules = run[granules - 1].granules = granules;
    run->dirty = dirty;
    run->key = since;
    unsigned bin = run_bin(granules);
    list_push(&r->bins[bin], run);
    r->bin_map[bin / 64] |= 1ull << bin % 64;
    r->dirty += dirty ? granules : 0;
}

static void run_remove(struct region *r, struct page *run) {
    unsigned bin = run_bin(run->granules);
    list_remove(&r->bins[bin], run);
    if (!r->bins[bin])
        r->bin_map[bin / 64] &= ~(1ull << bin % 64);
    r->dirty -= run->dirty ? run->granules : 0;
    run->kind = run[run->granules - 1].kind = PAGE_GONE;
}

/* A free run that is long enough: in its own bin or, from the next bin on, any. */
static struct page *run_find(struct region *r, uint32_t granules) {
    unsigned bin = run_bin(granules);
    for (uint32_t i = r->bins[bin]; i; i = page_at(i)->next)
        if (page_at(i)->granules >= granules)
            return page_at(i);
    for (bin++; bin < BINS; bin = (bin | 63) + 1) {
        uint64_t map = r->bin_map[bin / 64] & ~0ull << bin % 64;
        if (map)
            return page_at(r->bins[bin / 64 * 64 + (unsigned)__builtin_ctzll(map)]);
    }
    return NULL;
}

static size_t run_purge(struct region *r, struct page *run) {
    size_t size = (size_t)run->granules << GRANULE_BITS;
    if (!os_purge(page_start(run), size))
        return 0;
    if (size >= HUGE_PAGE && region_is_dense(r)) /* it was in use, and will be again */
        os_make_huge(page_start(run), size);
    run->dirty = false;
    r->dirty -= run->granules;
    return run->granules;
}

/* Gives pages back, of the longest runs first: of those that nobody wanted since
 * `before`, until `enough` granules are gone. */
static size_t region_purge(struct region *r, uint64_t before, size_t enough) {
    size_t gone = 0;
    for (unsigned bin = BINS; bin-- > 0 && r->dirty && gone < enough;)
        for (uint32_t i = r->bins[bin]; i && gone < enough; i = page_at(i)->next) {
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
static struct page *run_take(struct region *r, uint32_t granules, bool dense) {
    struct page *run = run_find(r, granules);
    if (!run) {
        if (r->dirty > r->used / SLACK)
            region_purge(r, UINT64_MAX, granules);
        if (!(run = region_extend(r, granules, dense)))
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
    } else if (page_start(next) != r->next || !region_extend(r, more, region_is_dense(r))) {
        return false;
    }
    r->used += more;
    run->granules = granules;
    return true;
}
