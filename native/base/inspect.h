/* inspect.h: the functions of libmalloc.h, and those by which programs ask glibc about its
 * malloc (mallinfo, malloc_stats, …): glibc's would describe its own unused heap. All
 * figures come from heap_count, so all answers agree.
 */
#pragma once

#include <stdio.h>
#include <unistd.h>

#include "limit.h"
#include "lock.h"
#include "os.h"
#include "snapshot.h"

typedef int visitor(const struct libmalloc_chunk *, void *);

static int walk(visitor *visit, void *arg) {
    struct snapshot s = {0};
    heap_snapshot(&s);
    int stop = s.failed ? -1 : 0;
    for (size_t i = 0; !stop && i < s.count; i++)
        stop = visit(&s.chunks[i], arg);
    snapshot_drop(&s);
    if (s.failed)
        errno = ENOMEM;
    return stop;
}

EXPORT int libmalloc_walk(visitor *visit, void *arg) { return walk(visit, arg); }

EXPORT int libmalloc_check(void (*report)(const char *line, void *), void *arg) {
    struct findings *f = os_map(sizeof *f);
    if (!f)
        return -1;
    heap_verify(f);
    for (int i = 0; report && i < f->broken && i < FINDINGS_KEPT; i++)
        report(f->line[i], arg);
    int broken = f->broken;
    os_unmap(f, sizeof *f);
    return broken;
}

EXPORT const char *libmalloc_version(void) { return heap_version; }

/* ── counting ──────────────────────────────────────────────────────────────── */

enum { IDLE_TRIES = 10, IDLE_NAP = 1000000 }; /* nanoseconds */

/* Are all locks free, within 10 ms? A lock that this thread holds, in the call that a signal
 * handler interrupted, never becomes free; one that another thread holds soon does. So after
 * true, the caller may take the locks: it will wait for other threads only. */
UNUSED static bool heap_is_idle(void) {
    for (int tries = IDLE_TRIES;; os_nap(IDLE_NAP)) {
        unsigned i = 0;
        while (heap_lock(i) && lock_is_free(heap_lock(i)))
            i++;
        if (!heap_lock(i) || --tries == 0)
            return !heap_lock(i);
    }
}

UNUSED static bool heap_tally(struct libmalloc_stats *out, bool patient) {
    if (!patient && !heap_is_idle())
        return false;
    struct figures figures = {.stats = out};
    struct snapshot picture = {.figures = &figures};
    out->header_bytes = heap_overhead();
    heap_snapshot(&picture);
    return !picture.failed;
}

/* `size` stays 0 if the figures cannot be had. */
static struct libmalloc_stats count(bool patient) {
    struct libmalloc_stats s = {0};
    if (heap_count(&s, patient))
        s.size = sizeof s;
    s.limit = options.limit == SIZE_MAX ? 0 : options.limit;
    s.taken = atomic_load_explicit(&limit_taken, memory_order_relaxed);
    return s;
}

EXPORT int libmalloc_stats(struct libmalloc_stats *stats) {
    struct libmalloc_stats s = count(true);
    size_t known = stats->size;
    if (s.size == 0 || known < sizeof known) {
        errno = known < sizeof known ? EINVAL : ENOMEM;
        return -1;
    }
    if (known > sizeof s) {
        memset((char *)stats + sizeof s, 0, known - sizeof s);
        known = sizeof s;
    }
    s.size = known;
    memcpy(stats, &s, known);
    return 0;
}

EXPORT size_t libmalloc_purge(void) { return heap_trim(0); }

/* ── what programs ask glibc (mallinfo(3), malloc_info(3), …) ───────────────── */

EXPORT struct mallinfo2 mallinfo2(void) {
    struct libmalloc_stats s = count(true);
    return (struct mallinfo2){
        .arena = s.mapped,
        .ordblks = s.free_blocks,
        .uordblks = s.live_bytes,
        .fordblks = s.free_bytes + s.fresh_bytes,
        .keepcost = s.spare_bytes,
    };
}

/* The old interface counts in int and wraps beyond 2 GiB, as glibc's does. */
EXPORT struct mallinfo mallinfo(void) {
    struct libmalloc_stats s = count(true);
    return (struct mallinfo){
        .arena = (int)s.mapped,
        .ordblks = (int)s.free_blocks,
        .uordblks = (int)s.live_bytes,
        .fordblks = (int)(s.free_bytes + s.fresh_bytes),
        .keepcost = (int)s.spare_bytes,
    };
}

#include "summary.h"

/* Prints through write(2): the stream may be closed, and must not allocate. */
static void print(int fd, const char *text, int length) {
    if (length > 0 && write(fd, text, (size_t)length) < 0) { /* nothing can be done */
    }
}

EXPORT void malloc_stats(void) {
    struct text text = {0};
    text_add(&text, heap_version);
    text_add(&text, "\n");
    text_stats(&text, count(true));
    print(STDERR_FILENO, text.bytes, (int)text.used);
}

/* XML with glibc's element names; 0, EINVAL for options other than 0. */
EXPORT int malloc_info(int option, FILE *stream) {
    if (option)
        return EINVAL;
    struct libmalloc_stats s = count(true);
    int printed = fprintf(stream,
                          "<malloc version=\"1\">\n<heap nr=\"0\">\n"
                          "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
                          "<system type=\"current\" size=\"%zu\"/>\n"
                          "</heap>\n"
                          "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
                          "<total type=\"live\" count=\"%zu\" size=\"%zu\"/>\n"
                          "<system type=\"current\" size=\"%zu\"/>\n"
                          "<aspace type=\"total\" size=\"%zu\"/>\n"
                          "</malloc>\n",
                          s.free_blocks, s.free_bytes, s.mapped, s.free_blocks, s.free_bytes,
                          s.live_blocks, s.live_bytes, s.mapped, s.mapped);
    return printed < 0 ? errno : 0;
}

/* 1 if memory went back to the OS, as in glibc. */
EXPORT int malloc_trim(size_t pad) { return heap_trim(pad) > 0; }

/* glibc's tuning parameters are hints about its own design. Those that it knows
 * are accepted (1) and have nothing to tune here; others are an error (0). */
EXPORT int mallopt(int parameter, int value) {
    (void)value;
    return parameter == M_MXFAST || parameter == M_TRIM_THRESHOLD || parameter == M_TOP_PAD ||
           parameter == M_MMAP_THRESHOLD || parameter == M_MMAP_MAX ||
           parameter == M_CHECK_ACTION || parameter == M_PERTURB || parameter == M_ARENA_TEST ||
           parameter == M_ARENA_MAX;
}

/* ── show_alloc_mem ────────────────────────────────────────────────────────── */

enum { TINY = 256 }; /* blocks up to here live in a zone called TINY */

struct show {
    struct libmalloc_chunk zone; /* the innermost container seen */
    bool named;
    size_t total;
};

static const char *zone_name(const struct libmalloc_chunk *zone) {
    if (zone->kind == LIBMALLOC_REGION)
        return "HEAP"; /* no classes: blocks of all sizes side by side */
    if (zone->size_class == 0)
        return "LARGE";
    return zone->size_class <= TINY ? "TINY" : "SMALL";
}

static int show_visit(const struct libmalloc_chunk *c, void *arg) {
    struct show *show = arg;
    char line[128];
    if (c->kind == LIBMALLOC_REGION || c->kind == LIBMALLOC_SPAN) {
        show->zone = *c;
        show->named = false;
    }
    if (c->kind != LIBMALLOC_LIVE)
        return 0;
    if (!show->named)
        print(STDOUT_FILENO, line,
              snprintf(line, sizeof line, "%s : 0x%zX\n", zone_name(&show->zone),
                       (size_t)show->zone.start));
    show->named = true;
    show->total += c->usable;
    print(STDOUT_FILENO, line,
          snprintf(line, sizeof line, "0x%zX - 0x%zX : %zu bytes\n", (size_t)c->user,
                   (size_t)c->user + c->usable, c->usable));
    return 0;
}

EXPORT void show_alloc_mem(void) {
    struct show show = {0};
    walk(show_visit, &show);
    char line[64];
    print(STDOUT_FILENO, line, snprintf(line, sizeof line, "Total : %zu bytes\n", show.total));
}
