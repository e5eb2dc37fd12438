/* profile.c: samples the call stacks that allocate, and the bytes that stay live, under any malloc.
 *
 * Preloaded in front of a malloc (glibc's included), it passes every call on. Once in so many bytes
 * it samples an allocation: its stack, its size, its time. The idea:
 *
 *     malloc(n):  n < left?  left -= n, and on to the malloc: four instructions
 *                 else sample this one, and draw a new `left`
 *     free(p):    is the bit of p set?  no: on to the malloc
 *                 else, before it is freed, find the sampled block and end its life
 *
 * The price: about 2 ns for a pair that is not sampled, 0.3 µs for one that is. Nothing is allocated
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
#include "profile/held.h"

#define SITE ((uintptr_t)__builtin_return_address(0))

enum { EVERY = 512 * 1024 };

/* C23, not declared by the C library of Debian 12. */
EXPORT void free_sized(void *p, size_t size);
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size);

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

static bool is_word(const char *text, size_t length, const char *word) {
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static int signal_number(const char *text, size_t length) {
    static const struct {
        char name[8];
        int number;
    } names[] = {{"HUP", SIGHUP}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"URG", SIGURG},
                 {"WINCH", SIGWINCH}, {"IO", SIGIO}, {"PWR", SIGPWR}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_word(text, length, names[i].name))
            return names[i].number;
    return 0;
}

/* `every=1000,seconds=5,signal=USR1,/path`: words, then a path from the root. */
static bool options_read(const char *text) {
    profile.every = EVERY;
    for (; *text && *text != '/'; text += strcspn(text, ",") + 1) {
        size_t length = strcspn(text, ",");
        if (text[length] != ',')
            return false;
        if (is_word(text, length, "all"))
            profile.every = 0;
        else if (is_word(text, length, "roots"))
            profile.rooted = true;
        else if (strncmp(text, "every=", 6) == 0)
            profile.every = strtoul(text + 6, NULL, 10);
        else if (strncmp(text, "seconds=", 8) == 0)
            profile.moment_every = strtoul(text + 8, NULL, 10);
        else if (strncmp(text, "signal=", 7) != 0 ||
                 !(profile.signal = signal_number(text + 7, length - 7)))
            return false;
    }
    if (*text != '/' || strlen(text) >= sizeof file.path)
        return false;
    strcpy(file.path, text);
    return true;
}

/* free and realloc treat early blocks like sampled ones. */
static void early_mark(const void *p) {
    bit_set(bit_of(p));
}

/* Marks them again after all marks were cleared. */
static void early_mark_all(void) {
    for (size_t at = 0; at < early.used;) {
        const char *block = early.bytes + at + 16;
        early_mark(block);
        at += 16 + ((early_size(block) + 15) & ~(size_t)15);
    }
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
        early_mark_all();
    }
    file.process = atomic_fetch_add(&file.header->processes, 1) + 1;
    totals_begin();
    process_describe(parent);
    maps_write();
    profile.moment_due = profile.moment_every ? file_now() + profile.moment_every : UINT64_MAX;
    atomic_store(profile.alive, 1);
    calm_end(calm);
}

/* Called by main's first allocation at the latest, long before there are threads. */
static COLD void tool_begin(void) {
    bit_unmark_null();
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

/* A thread's first call, and the one that ends its countdown. */
static COLD void *countdown(void *p, size_t size, uintptr_t site) {
    int error = errno;
    if (here.busy)
        return p;
    if (!here.begun) {
        here.begun = true;
        here.number = atomic_fetch_add(&profile.threads, 1) + 1;
        here.chance = (clock_ticks() ^ (uintptr_t)&here ^ (uint64_t)here.number << 32) | 1;
        here.left = profile.every ? chance_draw(&here.chance, profile.every) + 1 : 0;
    }
    if (!profile.on)
        here.left = UINT64_MAX;
    if (size < here.left) {
        here.left -= size;
        return p;
    }
    here.serial++;
    here.left = profile.every ? chance_draw(&here.chance, profile.every) + 1 : 0;
    if (p && !next_calls((const void *)site))
        sample(p, size);
    errno = error;
    return p;
}

/* Is this allocation not the one that ends the countdown? */
static inline bool passes_by(size_t size) {
    uint64_t left = here.left;
    if (unlikely(size >= left))
        return false;
    here.left = left - size;
    return true;
}

static inline void *counted(void *p, size_t size, uintptr_t site) {
    return likely(passes_by(size)) ? p : countdown(p, size, site);
}

/* Takes a sampled block out, before another thread may get its address. */
static COLD bool block_find(void *p, struct block *out) {
    int error = errno;
    bool found = false;
    if (!profile.on || here.busy || !blocks_likely_hold(p))
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
    if (!profile.on || here.busy || !blocks_likely_hold(p))
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
    void *p = early_allocate(size);
    if (p)
        early_mark(p);
    return p;
}

EXPORT void *malloc(size_t size) {
    if (likely(passes_by(size)))
        return next.malloc(size);
    if (!is_ready())
        return early_block(size);
    return countdown(next.malloc(size), size, SITE);
}

/* Early blocks are never given back. */
static COLD bool free_is_over(void *p) {
    if (early_owns(p) || !is_ready())
        return true;
    if (!p)
        return false;
    block_freed(p);
    return false;
}

/* Before the first malloc there is nothing to free. */
EXPORT void free(void *p) {
    if (unlikely(blocks_may_hold(p)) && free_is_over(p))
        return;
    next.free(p);
}

/* The early blocks are zero: none is used twice. */
EXPORT void *calloc(size_t count, size_t size) {
    size_t bytes = product(count, size);
    if (likely(passes_by(bytes)))
        return next.calloc(count, size);
    if (!is_ready())
        return early_block(bytes);
    return countdown(next.calloc(count, size), bytes, SITE);
}

static void *early_resize(void *p, size_t size) {
    void *q = malloc(size);
    if (q && p)
        memcpy(q, p, early_size(p) < size ? early_size(p) : size);
    return q;
}

static COLD void *resize(void *p, size_t count, size_t size, uintptr_t site) {
    struct block old;
    bool sampled = block_find(p, &old);
    void *q = count == 1 ? next.realloc(p, size) : next.reallocarray(p, count, size);
    if (sampled)
        block_resized(old, !q && count && size);
    return counted(q, product(count, size), site);
}

static COLD void *resize_seen(void *p, size_t size, uintptr_t site) {
    if (blocks_may_hold(p))
        return early_owns(p) || !is_ready() ? early_resize(p, size) : resize(p, 1, size, site);
    return countdown(next.realloc(p, size), size, site);
}

EXPORT void *realloc(void *p, size_t size) {
    if (likely(!blocks_may_hold(p) && passes_by(size)))
        return next.realloc(p, size);
    return resize_seen(p, size, SITE);
}

EXPORT void *reallocarray(void *p, size_t count, size_t size) {
    if (unlikely(blocks_may_hold(p)))
        return early_owns(p) || !is_ready() ? early_resize(p, product(count, size))
                                            : resize(p, count, size, SITE);
    return counted(next.reallocarray(p, count, size), product(count, size), SITE);
}

/* glibc 2.36 has none; then any free will do. */
EXPORT void free_sized(void *p, size_t size) {
    if (unlikely(blocks_may_hold(p)) && free_is_over(p))
        return;
    next.free_sized ? next.free_sized(p, size) : next.free(p);
}

EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size) {
    if (unlikely(blocks_may_hold(p)) && free_is_over(p))
        return;
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
    if (unlikely(blocks_may_hold(p)))
        block_freed(p);
}

/* What our free does. */
static inline void news_free(void *p, uintptr_t site) {
    (void)site;
    if (unlikely(blocks_may_hold(p)) && free_is_over(p))
        return;
    next.free(p);
}

#include "trace/news.h"

static inline void *news_allocate_soon(size_t size, size_t alignment, uintptr_t site) {
    (void)site;
    return likely(size && !alignment && passes_by(size)) ? next.malloc(size) : NULL;
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
