/* trace.c: records the calls of any malloc.
 *
 * Preloaded in front of a malloc (glibc's included), it passes every call on and records
 * its arguments and its result in the format of trace.h. The idea:
 *
 *     free(p):   stamp, write, then free          p's recorded life is within the real
 *     malloc(n): allocate, then stamp and write   one, whichever thread gets p next
 *
 * The price: 16 bytes a call (32 for realloc), and about 50 ns of CPU (20 of
 * them for the stamp); `libmalloc record --cost` measures it. Nothing is allocated from the malloc that is
 * watched, no descriptor stays open, no lock is taken but at a thread's first call.
 *
 * LIBMALLOC_TRACE=[sites,][stacks,][snapshots[=CALLS],]/absolute/path turns it on; all processes
 * write into that one file. Without it, or in a setuid program, calls are only passed on.
 *
 * By hand: cc -O2 -fPIC -shared -ftls-model=initial-exec -o libmalloc-trace.so native/tools/trace.c
 */
#include "../base/platform.h"

#include "trace/next.h"
#include "trace/clock.h"
#include "trace/callers.h"
#include "trace/count.h"

#define SITE ((uintptr_t)__builtin_return_address(0))

/* ── start ─────────────────────────────────────────────────────────────────── */

/* `stacks,sites,snapshots=1000,/path` or `count,/path`: words, then a path from the root. */
static bool options_read(const char *text) {
    for (; *text && *text != '/'; text += strcspn(text, ",") + 1) {
        size_t length = strcspn(text, ",");
        if (text[length] != ',')
            return false;
        if (strncmp(text, "sites,", 6) == 0)
            trace.options |= TRACE_SITES;
        else if (strncmp(text, "stacks,", 7) == 0)
            trace.options |= TRACE_SITES | TRACE_WITH_STACKS;
        else if (strncmp(text, "count,", 6) == 0)
            trace.counting = true;
        else if (strncmp(text, "snapshots,", 10) == 0)
            trace.options |= TRACE_SNAPSHOTS;
        else if (strncmp(text, "snapshots=", 10) == 0) {
            trace.options |= TRACE_SNAPSHOTS;
            trace.walk_every = strtoul(text + 10, NULL, 10);
        } else
            return false;
    }
    if (*text != '/' || strlen(text) >= sizeof file.path)
        return false;
    strcpy(file.path, text);
    return true;
}

/* Called by main's first allocation at the latest, long before there are threads. */
static COLD void tool_begin(void) {
    const char *wanted = secure_getenv("LIBMALLOC_TRACE");
    if (!wanted || !options_read(wanted))
        return;
    struct calm calm = calm_begin();
    clock_choose();
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && madvise(page, 4096, MADV_WIPEONFORK) == 0 && file_begin()) {
        trace.alive = page;
        trace.millisecond = file.header->rate / 1000;
        file_option(trace.options);
        process_begin();
        moments_begin();
        trace.watched = moments.on || trace.options & TRACE_WITH_STACKS;
        trace.on = !trace.counting;
    } else {
        trace.counting = false;
    }
    calm_end(calm);
}

/* ── counting ──────────────────────────────────────────────────────────────── */

/* A call of the program's, unless the malloc calls itself. */
static struct writer *counter(uintptr_t site) {
    return next_calls((const void *)site) ? NULL : count_begin();
}

static COLD void counted(void *p, uint64_t op, size_t size, uintptr_t site) {
    struct writer *w = counter(site);
    if (w)
        count_got(w, op, p, size);
}

static COLD void counted_release(void *p, uint64_t op, uintptr_t site) {
    struct writer *w = counter(site);
    if (!w)
        return;
    w->counts->calls[op]++;
    count_gives(p);
}

static COLD void *counted_resize(void *p, uint64_t op, size_t count, size_t size, uintptr_t site) {
    struct writer *w = counter(site);
    size_t usable = w ? count_usable(p) : 0;
    if (w)
        count_gives(p);
    working = w;
    void *q = op == TRACE_REALLOC ? next.realloc(p, size) : next.reallocarray(p, count, size);
    working = false;
    if (w)
        count_got(w, op, q, product(count, size));
    if (w && p && !q && count && size)
        count_keeps(usable);
    return q;
}

/* ── the pair of verbs ─────────────────────────────────────────────────────── */

/* With stacks, or with snapshots at their moments: kept apart, so that others do not pay for the
 * question. Returns the stamp. */
static __attribute__((noinline)) uint64_t note_watched(struct writer *w, unsigned depth, struct call c) {
    struct stream *s = &w->stream[depth];
    if (trace.options & TRACE_WITH_STACKS)
        c.stack = callers_number(s);
    if (moments.on && c.op >= TRACE_FREE)
        moments_release(w, s, (void *)c.address, depth == 0);
    c.stamp = file_now();
    record_call(w, s, c);
    if (moments.on && c.op < TRACE_FREE)
        moments_allocate(w, s, (void *)c.address, depth == 0);
    return c.stamp;
}

/* Stamped in here: a signal handler that comes before is earlier, one that comes later is in
 * another stream, so the times of a stream never run backwards. */
static inline void note(struct call c) {
    struct writer *w = writer_here();
    unsigned depth = w ? w->depth : NESTED;
    if (unlikely(depth >= NESTED)) {
        lose(1);
        return;
    }
    w->depth = depth + 1;
    atomic_signal_fence(memory_order_seq_cst);
    struct stream *s = &w->stream[depth];
    if (unlikely(trace.watched)) {
        c.stamp = note_watched(w, depth, c);
    } else {
        c.stamp = file_now();
        record_call(w, s, c);
    }
    if (unlikely(c.stamp >= atomic_load_explicit(&trace.footprint_due, memory_order_relaxed)))
        footprint(w, s, c.stamp);
    /* What is on record as released is still there: only after an allocation do both agree. */
    if (unlikely(++w->calls >= w->walk_at && depth == 0 && c.op < TRACE_FREE))
        walk_now(w, s);
    atomic_signal_fence(memory_order_seq_cst);
    w->depth = depth;
}

static inline void *got(void *p, uint64_t op, size_t size, size_t alignment, uintptr_t site) {
    if (trace.on && !next_calls((const void *)site))
        note((struct call){op, (uintptr_t)p, size, alignment, 0, site, 0});
    if (unlikely(trace.counting)) {
        working = false;
        counted(p, op, size, site);
    }
    return p;
}

static inline void gives(void *p, uint64_t op, uintptr_t site) {
    if (trace.on && !next_calls((const void *)site))
        note((struct call){op, (uintptr_t)p, 0, 0, 0, site, 0});
    if (unlikely(trace.counting))
        counted_release(p, op, site);
}

/* Around the malloc's own work, so that its system calls can be counted. */
#define WORK (working = trace.counting)
#define REST (working = false)

static inline void *resized(void *p, uint64_t op, size_t count, size_t size, uintptr_t site) {
    if (unlikely(trace.counting))
        return counted_resize(p, op, count, size, site);
    gives(p, TRACE_RELEASE, site);
    void *q = op == TRACE_REALLOC ? next.realloc(p, size) : next.reallocarray(p, count, size);
    if (unlikely(!q && p && count && size && moments.on))
        moments_keep(p);
    return got(q, op, product(count, size), 0, site);
}

#include "trace/family.h"

/* ── C++ ───────────────────────────────────────────────────────────────────── */

static inline void news_free(void *p, uintptr_t site) {
    if (!p || unlikely(early_owns(p)))
        return;
    gives(p, TRACE_FREE, site);
    WORK;
    next.free(p);
    REST;
}

#include "trace/news.h"

static inline void *news_allocate_soon(size_t size, size_t alignment, uintptr_t site) {
    return news_allocate(size, alignment, site);
}

#include "../unwind/unload.h"

/* ── start and end ─────────────────────────────────────────────────────────── */

/* A signal handler has interrupted a record and forked, and the child may return to it: what it then
 * writes goes into a copy at the address of its parent's segment, which is never read. */
static void trace_forked(void) {
    for (int i = 0; trace.on && here && here->depth > 0 && i < NESTED; i++) {
        struct stream *s = &here->stream[i];
        void *copy = s->segment ? memory_map(TRACE_SEGMENT) : NULL;
        if (copy)
            mremap(memcpy(copy, s->segment, (size_t)((char *)s->end - (char *)s->segment)),
                   TRACE_SEGMENT, TRACE_SEGMENT, MREMAP_MAYMOVE | MREMAP_FIXED, s->segment);
    }
}

__attribute__((constructor)) static void trace_start(void) {
    is_ready();
    if (trace.on)
        pthread_atfork(NULL, NULL, trace_forked);
}

/* The last picture, and the last sums, where a process ends by exit. Calls after it are
 * recorded still. */
__attribute__((destructor)) static void trace_end(void) {
    struct writer *w = trace.on ? writer_here() : NULL;
    if (trace.counting && count_begin())
        count_resident(file_now());
    if (!w || w->depth)
        return;
    w->depth++;
    footprint(w, &w->stream[0], file_now());
    if (trace.options & TRACE_SNAPSHOTS)
        heap_walk(w, &w->stream[0]);
    writers_sum_up();
    w->depth--;
}
