/* profile.c: samples the call stacks that allocate, and the bytes that stay live, under any malloc.
 *
 * Preloaded in front of a malloc (glibc's included), it passes every call on. Once in so many bytes
 * it samples an allocation: its stack, its size, its time. The idea:
 *
 *     malloc(n):  left -= n; was there as much?  then on to the malloc: four instructions
 *                 else sample this one, and draw a new `left`
 *     free(p):    is p a multiple of 4,096?  no: on to the malloc: three instructions
 *                 else, before it is freed, find the sampled block, if it is one, and end its life
 *
 * So a block that is sampled is asked of the malloc with this alignment (blocks.h); with --all, or where
 * samples are frequent, it is not, because that would take too much memory, and each free looks closer.
 *
 * The price: about 1 ns for a pair that is not sampled, 0.3 µs for one that is. Nothing is allocated
 * from the malloc that is watched, and no descriptor stays open. profile.h explains the format and why the
 * sums are unbiased.
 *
 *   1. A thread's countdown is its own. Everything else is under one lock, which is taken once in
 *      512 KiB, and for the frees of sampled blocks.
 *   2. A signal handler may allocate while its thread holds the lock: it finds `busy` set and samples
 *      nothing. A sampled block that it frees counts as live until its address is used again.
 *   3. `alive` is on a page that the kernel wipes in a forked child: the first sample that finds it 0
 *      begins a new process, which counts its own allocations only, not the blocks of its parent.
 *
 * LIBMALLOC_PROFILE=[every=BYTES,|all,][roots,][seconds=S,][signal=SIGNAL,]/absolute/path turns it on; all
 * processes write into that one file.
 *
 * By hand: cc -O2 -fPIC -shared -ftls-model=initial-exec -o libmalloc-profile.so native/tools/profile.c
 */
#define _GNU_SOURCE
#include "profile/calls.h"
#include "profile/chance.h"
#include "profile/blocks.h"
#include "profile/apart.h"
#include "profile/held.h"
#include "profile/asked.h"

static _Thread_local struct {
    uint64_t left; /* the allocation of so many bytes or more is sampled; 0 at the start */
    uint64_t serial, chance;
    uint32_t number;   /* the thread's, from 1 */
    struct last *last; /* its last stack */
    bool begun, busy;
} here;

/* The stack of a thread that has no memory for one: empty. */
static struct last nobody;

/* ── start ─────────────────────────────────────────────────────────────────── */

/* To free, all places of early blocks look as if a sampled block were there. */
static COLD void early_mark(void) {
    for (size_t at = 0; at < sizeof early.bytes; at += EARLY_STEP)
        bit_set_for_ever(bit_of(early.bytes + at));
}

/* At the start, and at the first sample of a forked child. */
static COLD void process_begin(void) {
    struct calm calm = calm_begin();
    uint32_t parent = file.process;
    profile.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    if (parent) {
        for (size_t i = 0; i < GROUPS && profile.groups[i]; i++)
            munmap(profile.groups[i], TRACE_SEGMENT);
        memset(profile.groups, 0, sizeof profile.groups);
        profile.sites = 0;
        calls_forget();
        here.last = NULL; /* our parent writes there */
        blocks_forget();
        early_mark();
    }
    file.process = atomic_fetch_add(&file.header->processes, 1) + 1;
    totals_begin();
    process_describe(parent);
    codes = 0; /* the first sample writes the maps down: small processes have none */
    profile.moment_due = profile.moment_every ? file_now() + profile.moment_every : UINT64_MAX;
    atomic_store(profile.alive, 1);
    calm_end(calm);
}

/* Called by main's first allocation at the latest, long before there are threads. */
static COLD void tool_begin(void) {
    apart_begin(true);
    const char *wanted = secure_getenv("LIBMALLOC_PROFILE");
    if (!wanted || !options_read(wanted))
        return;
    blocks.memory = memory_apart;
    struct calm calm = calm_begin();
    clock_choose();
    void *page = memory_map(4096);
    if (page && madvise(page, 4096, MADV_WIPEONFORK) == 0 && file_begin()) {
        profile.alive = page;
        profile.moment_every *= file.header->rate;
        file_option(TRACE_WITH_STACKS);
        process_begin();
        apart_begin(profile.every >= APART_LEAST && next.aligns);
        profile.on = true;
    }
    calm_end(calm);
}

/* ── samples ───────────────────────────────────────────────────────────────── */

/* Between these two, no other thread samples an allocation, and this thread no further one. */
static void look_up(void) {
    here.busy = true;
    if (unlikely(!atomic_load_explicit(profile.alive, memory_order_relaxed)))
        process_begin();
}

static void look(void) {
    look_up();
    pthread_mutex_lock(&profile.lock);
}

static void look_away(void) {
    if (unlikely(profile.moment_wanted)) {
        profile.moment_wanted = false;
        moment_write(PROFILE_BY_SIGNAL);
    }
    pthread_mutex_unlock(&profile.lock);
    here.busy = false;
}

static void passes(uint64_t now) {
    profile.totals->last = now;
    if (likely(now < profile.moment_due))
        return;
    profile.moment_due = now + profile.moment_every;
    moment_write(PROFILE_BY_TIME);
}

static void block_ends(struct block b, uint64_t now) {
    if (b.site != UINT32_MAX)
        site_lose(site_at(b.site), b.size, b.weight, b.born, now);
}

/* Freed by its thread, which has asked for nothing since. */
static void block_was_short(struct block b) {
    if (b.site == UINT32_MAX || b.thread != here.number || b.serial != here.serial ||
        b.left != here.left)
        return;
    amount_add(&site_at(b.site)->short_lived, (double)b.size * b.weight, b.weight);
    amount_add(&profile.totals->short_lived, (double)b.size * b.weight, b.weight);
}

static COLD void sample(void *p, size_t size) {
    look_up();
    if (!here.last && !(here.last = memory_apart(sizeof *here.last)))
        here.last = &nobody;
    if (here.last != &nobody)
        unwind_again(here.last, unwind_here());
    pthread_mutex_lock(&profile.lock);
    struct block b = {.address = (uintptr_t)p, .size = size, .born = file_now()};
    b.weight = chance_weight(size, profile.every);
    b.serial = here.serial;
    b.left = here.left;
    b.thread = here.number;
    b.site = calls_site(here.last);
    passes(b.born);
    struct block *stale = blocks_find(p);
    if (stale)
        block_ends(blocks_take(stale), b.born);
    if (b.site == UINT32_MAX || !blocks_add(b))
        profile.totals->missed++;
    else
        site_gain(site_at(b.site), size, b.weight, b.born);
    look_away();
}

static void *sampled(void *p, size_t size) {
    if (p)
        sample(p, size);
    return p;
}

/* Bytes to the next sample; 0 if each allocation is one. */
static uint64_t countdown_start(void) {
    return profile.every ? chance_draw(&here.chance, profile.every) + 1 : 0;
}

/* Counts an allocation down. False if it ends the countdown: then the caller calls take_back, before
 * anything else can allocate. */
static inline bool passes_by(size_t size) {
    return subtract_leaves(&here.left, size);
}

static inline void take_back(size_t size) {
    here.left += size;
}

static COLD void thread_begin(void) {
    here.begun = true;
    here.number = atomic_fetch_add(&profile.threads, 1) + 1;
    here.chance = (clock_ticks() ^ (uintptr_t)&here ^ (uint64_t)here.number << 32) | 1;
    here.left = countdown_start();
}

/* A thread's first call, and the one that ends its countdown: is it to be sampled? */
static COLD bool is_due(size_t size, uintptr_t site) {
    if (here.busy)
        return false;
    if (!here.begun)
        thread_begin();
    if (!profile.on)
        here.left = INT64_MAX;
    if (passes_by(size))
        return false;
    here.serial++;
    here.left = countdown_start();
    return !next_calls((const void *)site);
}

static COLD void *counted_back(void *p, size_t size, uintptr_t site) {
    take_back(size);
    if (is_due(size, site) && p)
        sample(p, size);
    return p;
}

static inline void *counted(void *p, size_t size, uintptr_t site) {
    return likely(passes_by(size)) ? p : counted_back(p, size, site);
}

/* Takes a sampled block out, before another thread may get its address. */
static COLD bool block_find(void *p, struct block *out) {
    int error = errno;
    bool found = false;
    if (!profile.on || here.busy)
        return false;
    look();
    struct block *b = blocks_find(p);
    if (b) {
        *out = blocks_take(b);
        found = true;
    }
    look_away();
    errno = error;
    return found;
}

static COLD void block_freed(void *p) {
    int error = errno;
    if (!profile.on || here.busy)
        return;
    look();
    struct block *found = blocks_find(p);
    if (found) {
        uint64_t now = file_now();
        struct block b = blocks_take(found);
        block_was_short(b);
        block_ends(b, now);
        passes(now);
    }
    look_away();
    errno = error;
}

/* The old block lives on where the new one could not be had. */
static COLD void block_resized(struct block old, bool failed) {
    int error = errno;
    look();
    if (failed && blocks_add(old)) {
        look_away();
        return;
    }
    block_ends(old, file_now());
    look_away();
    errno = error;
}

/* ── the family ────────────────────────────────────────────────────────────── */

static COLD void *early_block(size_t size) {
    early_mark();
    return early_allocate(size);
}

static COLD void *malloc_seen(size_t size, uintptr_t site) {
    take_back(size);
    if (!is_ready())
        return early_block(size);
    if (!is_due(size, site))
        return next.malloc(size);
    void *p = apart_allocate(size);
    return sampled(p ? p : next.malloc(size), size);
}

EXPORT void *malloc(size_t size) {
    return likely(passes_by(size)) ? next.malloc(size) : malloc_seen(size, SITE);
}

/* Of a block that is likely sampled or early. Early blocks are never given back. */
static COLD bool free_goes_on(void *p) {
    if (early_owns(p))
        return false;
    block_freed(p);
    return true;
}

/* Before the first malloc there is nothing to free but NULL. */
static inline bool is_to_free(void *p) {
    if (likely(!blocks_may_hold(p)))
        return true;
    return p && (likely(!blocks_likely_hold(p)) || free_goes_on(p));
}

EXPORT void free(void *p) {
    if (is_to_free(p))
        next.free(p);
}

static COLD void *calloc_seen(size_t count, size_t size, uintptr_t site) {
    size_t bytes = product(count, size);
    take_back(count * size);
    if (!is_ready())
        return early_block(bytes); /* zero, because none is used twice */
    if (!is_due(bytes, site))
        return next.calloc(count, size);
    void *p = bytes <= APART_COPIED ? apart_allocate(bytes) : NULL;
    return sampled(p ? memset(p, 0, bytes) : next.calloc(count, size), bytes);
}

/* A product that overflows is of no block, and may be counted as whatever it is. */
EXPORT void *calloc(size_t count, size_t size) {
    return likely(passes_by(count * size)) ? next.calloc(count, size)
                                           : calloc_seen(count, size, SITE);
}

/* Counts an allocation that has succeeded, or not, and moves it if it is a sample. */
static void *resized(void *p, size_t size, uintptr_t site) {
    if (likely(passes_by(size)))
        return p;
    take_back(size);
    return is_due(size, site) ? sampled(apart_move(p, size), size) : p;
}

static COLD void *resize(void *p, size_t count, size_t size, uintptr_t site) {
    struct block old;
    bool sampled = blocks_likely_hold(p) && block_find(p, &old);
    void *q = count == 1 ? next.realloc(p, size) : next.reallocarray(p, count, size);
    if (sampled)
        block_resized(old, !q && count && size);
    return resized(q, product(count, size), site);
}

static COLD void *resize_seen(void *p, size_t size, uintptr_t site) {
    return early_owns(p) || !is_ready() ? early_resize(p, size) : resize(p, 1, size, site);
}

static COLD void *realloc_counted(void *p, size_t size, uintptr_t site) {
    take_back(size);
    return resized(next.realloc(p, size), size, site);
}

/* NULL passes as others do not, and is the business of malloc, which is shorter. */
EXPORT void *realloc(void *p, size_t size) {
    if (unlikely(blocks_may_hold(p))) {
        if (likely(!p))
            return likely(passes_by(size)) ? next.malloc(size) : malloc_seen(size, SITE);
        return resize_seen(p, size, SITE);
    }
    return likely(passes_by(size)) ? next.realloc(p, size) : realloc_counted(p, size, SITE);
}

EXPORT void *reallocarray(void *p, size_t count, size_t size) {
    return early_owns(p) || unlikely(!is_ready()) ? early_resize(p, product(count, size))
                                                  : resize(p, count, size, SITE);
}

/* glibc 2.36 has none; then any free will do. */
EXPORT void free_sized(void *p, size_t size) {
    if (is_to_free(p))
        next.free_sized ? next.free_sized(p, size) : next.free(p);
}

EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size) {
    if (is_to_free(p))
        next.free_aligned_sized ? next.free_aligned_sized(p, alignment, size) : next.free(p);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
    if (unlikely(!is_ready()))
        return ENOMEM;
    int error = next.posix_memalign(out, alignment, size);
    counted(error ? NULL : *out, size, SITE);
    return error;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    return unlikely(!is_ready()) ? NULL : counted(next.aligned_alloc(alignment, size), size, SITE);
}

EXPORT void *memalign(size_t alignment, size_t size) {
    return unlikely(!is_ready()) ? NULL : counted(next.memalign(alignment, size), size, SITE);
}

EXPORT void *valloc(size_t size) {
    return unlikely(!is_ready()) ? NULL : counted(next.valloc(size), size, SITE);
}

EXPORT void *pvalloc(size_t size) {
    return unlikely(!is_ready()) ? NULL : counted(next.pvalloc(size), size, SITE);
}

/* ── C++ ───────────────────────────────────────────────────────────────────── */

#define WORK ((void)0)
#define REST ((void)0)

static inline void *got(void *p, uint64_t op, size_t size, size_t alignment, uintptr_t site) {
    (void)op;
    (void)alignment;
    return counted(p, size, site);
}

static inline void gives(void *p, uint64_t op, uintptr_t site) {
    (void)op;
    (void)site;
    if (unlikely(blocks_may_hold(p)) && blocks_likely_hold(p))
        block_freed(p);
}

/* What our free does. */
static inline void news_free(void *p, uintptr_t site) {
    (void)site;
    if (is_to_free(p))
        next.free(p);
}

#include "trace/news.h"

static inline void *news_allocate_soon(size_t size, size_t alignment, uintptr_t site) {
    (void)site;
    if (alignment)
        return NULL;
    if (likely(passes_by(size)))
        return next.malloc(size); /* if that of 0 bytes is NULL, the longer way asks for one byte */
    take_back(size);
    return NULL;
}

/* ── start and end ─────────────────────────────────────────────────────────── */

/* Takes a snapshot at once if no thread samples an allocation, else after the next sample. */
static void moment_asked(int signal) {
    (void)signal;
    int error = errno;
    profile.moment_wanted = true;
    if (!here.busy && atomic_load(profile.alive) && pthread_mutex_trylock(&profile.lock) == 0) {
        here.busy = true;
        look_away();
    }
    errno = error;
}

/* A program's own handler has precedence, be it there already or be it installed later. */
static void moment_signal(void) {
    struct sigaction now, ours = {.sa_handler = moment_asked, .sa_flags = SA_RESTART};
    if (sigaction(profile.signal, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
        now.sa_handler == SIG_DFL)
        sigaction(profile.signal, &ours, NULL);
}

__attribute__((constructor)) static void profile_start(void) {
    is_ready();
    if (profile.on && profile.signal)
        moment_signal();
}

__attribute__((destructor)) static void profile_end(void) {
    if (!profile.on || here.busy)
        return;
    look();
    profile.totals->last = file_now();
    if (profile.rooted) {
        maps_write(); /* where variables are */
        held_search();
    }
    look_away();
}
