/* snapshot.h: a list of the heap's chunks, made under its locks and read after they are
 * released, because a callback that allocated under them would wait for ever.
 *
 * The list lies in memory mapped from the OS, because a walk that allocated from the heap
 * would change what it describes. If only figures are wanted, chunks are summed up as they
 * come, and none is stored.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "os.h"

struct snapshot {
    struct libmalloc_chunk *chunks;
    size_t count, room;
    size_t region;    /* the index of the last region */
    char *region_end; /* NULL before the first */
    bool failed;      /* there was no memory, so chunks are missing */
    struct figures *figures; /* NULL: store the chunks */
};

/* Sums of chunks. Spare bytes are unused memory that could be given back: spans without a live
 * block, and free memory outside of spans at the end of the last region. */
struct figures {
    struct libmalloc_stats *stats;
    char *span_end;
    size_t span, tail; /* bytes counted as spare so far: of the last span, and behind spans */
};

static void figures_spare(struct figures *f, const struct libmalloc_chunk *c) {
    if ((char *)c->start < f->span_end)
        return;
    f->tail += c->extent;
    f->stats->spare_bytes += c->extent;
}

static void figures_busy(struct figures *f) {
    f->stats->spare_bytes -= f->span + f->tail;
    f->span = f->tail = 0;
}

static void figures_add(struct figures *f, const struct libmalloc_chunk *c) {
    struct libmalloc_stats *s = f->stats;
    switch ((enum libmalloc_kind)c->kind) {
    case LIBMALLOC_REGION:
        s->regions++;
        s->mapped += c->extent;
        s->spare_bytes -= f->tail;
        f->tail = 0;
        break;
    case LIBMALLOC_SPAN:
        s->spare_bytes += f->span = c->extent;
        f->span_end = (char *)c->start + c->extent;
        break;
    case LIBMALLOC_LIVE:
        s->live_blocks++;
        s->live_bytes += c->usable;
        s->header_bytes += c->extent - c->usable;
        figures_busy(f);
        break;
    case LIBMALLOC_HEADER:
        s->header_bytes += c->extent;
        figures_busy(f);
        break;
    case LIBMALLOC_FRESH:
        s->fresh_bytes += c->extent;
        figures_spare(f, c);
        break;
    case LIBMALLOC_CACHED: /* whole pages: nothing of it is a header */
        s->free_blocks++;
        s->free_bytes += c->extent;
        figures_spare(f, c);
        break;
    case LIBMALLOC_FREE:
    case LIBMALLOC_REMOTE:
        s->free_blocks++;
        s->free_bytes += c->usable;
        s->header_bytes += c->extent - c->usable;
        figures_spare(f, c);
        break;
    }
}

static bool snapshot_grow(struct snapshot *s) {
    size_t room = s->room ? 2 * s->room : 1024;
    struct libmalloc_chunk *more = os_map(room * sizeof *more);
    if (!more)
        return !(s->failed = true);
    if (s->room) {
        memcpy(more, s->chunks, s->count * sizeof *more);
        os_unmap(s->chunks, s->room * sizeof *more);
    }
    s->chunks = more;
    s->room = room;
    return true;
}

static void snapshot_add(struct snapshot *s, struct libmalloc_chunk chunk) {
    if (s->figures)
        figures_add(s->figures, &chunk);
    else if (s->count < s->room || (!s->failed && snapshot_grow(s)))
        s->chunks[s->count++] = chunk;
}

/* Begins a region at `start`, or extends the last one if that ends there. */
UNUSED static void snapshot_region(struct snapshot *s, void *start, size_t extent) {
    bool goes_on = s->region_end == (char *)start && !s->failed;
    s->region_end = (char *)start + extent;
    if (goes_on) {
        *(s->figures ? &s->figures->stats->mapped : &s->chunks[s->region].extent) += extent;
        return;
    }
    s->region = s->count;
    snapshot_add(s, (struct libmalloc_chunk){
                        .start = start, .extent = extent, .kind = LIBMALLOC_REGION});
}

/* A block with `header` bytes of ours before the caller's `usable` ones. */
UNUSED static void snapshot_block(struct snapshot *s, enum libmalloc_kind kind, void *start,
                                  size_t header, size_t usable, size_t size_class) {
    snapshot_add(s, (struct libmalloc_chunk){.start = start,
                                             .extent = header + usable,
                                             .user = (char *)start + header,
                                             .usable = usable,
                                             .kind = kind,
                                             .size_class = (uint32_t)size_class});
}

UNUSED static void snapshot_fresh(struct snapshot *s, char *start, char *end) {
    if (start < end)
        snapshot_add(s, (struct libmalloc_chunk){.start = start,
                                                 .extent = (size_t)(end - start),
                                                 .kind = LIBMALLOC_FRESH});
}

static void snapshot_drop(struct snapshot *s) {
    os_unmap(s->chunks, s->room * sizeof *s->chunks);
}

/* The broken invariants that a check found: their number, and a sentence for each of the first. */
enum { FINDINGS_KEPT = 32, FINDING_LENGTH = 120 };
struct findings {
    int broken;
    char line[FINDINGS_KEPT][FINDING_LENGTH];
};

__attribute__((format(printf, 3, 4))) static void expect(struct findings *f, bool holds,
                                                         const char *format, ...) {
    if (holds)
        return;
    if (f->broken < FINDINGS_KEPT) {
        va_list args;
        va_start(args, format);
        vsnprintf(f->line[f->broken], FINDING_LENGTH, format, args);
        va_end(args);
    }
    f->broken++;
}
