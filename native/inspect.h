/* inspect.h: looking at the heap: libmalloc.h and glibc's own questions about a
 * malloc (mallinfo, malloc_stats, …), which would otherwise describe glibc's idle
 * heap. Everything is counted from one picture of the heap (snapshot.h), so all
 * answers agree; each costs time in proportion to the number of chunks.
 */
#pragma once

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

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

struct tally {
    struct libmalloc_stats stats;
    size_t tail; /* unused bytes at the end of the last region */
};

static int tally_visit(const struct libmalloc_chunk *c, void *arg) {
    struct tally *t = arg;
    struct libmalloc_stats *s = &t->stats;
    switch ((enum libmalloc_kind)c->kind) {
    case LIBMALLOC_REGION:
        s->regions++;
        s->mapped += c->extent;
        t->tail = 0;
        return 0;
    case LIBMALLOC_SPAN:
        return 0;
    case LIBMALLOC_LIVE:
        s->live_blocks++;
        s->live_bytes += c->usable;
        s->header_bytes += c->extent - c->usable;
        t->tail = 0;
        return 0;
    case LIBMALLOC_HEADER:
        s->header_bytes += c->extent;
        t->tail = 0;
        return 0;
    case LIBMALLOC_FRESH:
        s->fresh_bytes += c->extent;
        break;
    case LIBMALLOC_CACHED: /* whole pages: nothing of it is a header */
        s->free_blocks++;
        s->free_bytes += c->extent;
        break;
    case LIBMALLOC_FREE:
    case LIBMALLOC_REMOTE:
        s->free_blocks++;
        s->free_bytes += c->usable;
        s->header_bytes += c->extent - c->usable;
        break;
    }
    t->tail += c->extent;
    return 0;
}

static struct tally tally(void) {
    struct tally t = {.stats.size = sizeof t.stats, .stats.header_bytes = heap_overhead()};
    if (walk(tally_visit, &t))
        t.stats.size = 0;
    return t;
}

EXPORT int libmalloc_stats(struct libmalloc_stats *stats) {
    struct tally t = tally();
    size_t known = stats->size;
    if (t.stats.size == 0 || known < sizeof known) {
        errno = known < sizeof known ? EINVAL : ENOMEM;
        return -1;
    }
    if (known > sizeof t.stats) {
        memset((char *)stats + sizeof t.stats, 0, known - sizeof t.stats);
        known = sizeof t.stats;
    }
    t.stats.size = known;
    memcpy(stats, &t.stats, known);
    return 0;
}

/* ── the questions that programs ask glibc (mallinfo(3), malloc_info(3), …) ─── */

EXPORT struct mallinfo2 mallinfo2(void) {
    struct tally t = tally();
    return (struct mallinfo2){
        .arena = t.stats.mapped,
        .ordblks = t.stats.free_blocks,
        .uordblks = t.stats.live_bytes,
        .fordblks = t.stats.free_bytes + t.stats.fresh_bytes,
        .keepcost = t.tail,
    };
}

/* The old interface counts in int and wraps beyond 2 GiB, as glibc's does. */
EXPORT struct mallinfo mallinfo(void) {
    struct tally t = tally();
    return (struct mallinfo){
        .arena = (int)t.stats.mapped,
        .ordblks = (int)t.stats.free_blocks,
        .uordblks = (int)t.stats.live_bytes,
        .fordblks = (int)(t.stats.free_bytes + t.stats.fresh_bytes),
        .keepcost = (int)t.tail,
    };
}

/* Prints through write(2): the stream may be closed, and must not allocate. */
static void print(int fd, const char *text, int length) {
    if (length > 0 && write(fd, text, (size_t)length) < 0) { /* nobody listens */
    }
}

EXPORT void malloc_stats(void) {
    struct libmalloc_stats s = tally().stats;
    char text[512];
    int length = snprintf(text, sizeof text,
                          "%s\n"
                          "system bytes     = %12zu in %zu regions\n"
                          "in use bytes     = %12zu in %zu blocks\n"
                          "free bytes       = %12zu in %zu blocks\n"
                          "never used bytes = %12zu\n"
                          "header bytes     = %12zu\n",
                          heap_version, s.mapped, s.regions, s.live_bytes, s.live_blocks,
                          s.free_bytes, s.free_blocks, s.fresh_bytes, s.header_bytes);
    print(STDERR_FILENO, text, length);
}

/* XML with glibc's element names; 0, EINVAL for options other than 0. */
EXPORT int malloc_info(int options, FILE *stream) {
    if (options)
        return EINVAL;
    struct libmalloc_stats s = tally().stats;
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
