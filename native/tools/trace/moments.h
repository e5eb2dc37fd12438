/* moments.h: when to walk over the heap, unless a number of calls was given: when the live bytes have
 * grown by a quarter since the last walk, when a new peak is over, and at the end (trace.c).
 *
 *     live bytes                  x: a walk
 *       │          ╭x╮   ╭─╮         after growth by a quarter
 *       │     ╭─x─╯   ╲─╯   ╲        before the first release after a peak, when nothing is lost of it yet
 *       │ ╭─x╯               ╲──x    at the end
 *       └──────────────────────────
 *
 * A heap that rises by a block at a time has a peak at each block, and cannot be walked over each time.
 * So a peak counts when it is higher than the last walk's by a 64th, or by an eighth once the walks have
 * taken 16 MiB and as much again as the records; and any peak counts while the walks have taken less
 * than the records. So the highest snapshot is at most that far below the highest moment, and mostly equal.
 *
 * Sizes are the malloc's own (malloc_usable_size). A walk is taken while the trace and
 * the heap agree: after an allocation is on record, or before a release is.
 */
#pragma once

#include "footprint.h"

static struct {
    _Atomic(uint64_t) live, peak; /* bytes */
    _Atomic(uint64_t) seen;       /* live bytes at the last walk */
    _Atomic(uint64_t) due;        /* live bytes from which on the next walk is due */
    _Atomic(uint64_t) records;    /* so far */
    _Atomic(uint64_t) chunks;     /* of all walks so far */
    _Atomic(bool) rising;         /* at a peak that no release has ended yet */
    bool on;
} moments = {.due = 16384};

static void moments_begin(void) {
    moments.on = trace.options & TRACE_SNAPSHOTS && !trace.walk_every && next.walk &&
                 next.malloc_usable_size;
}

static COLD void moments_walk(struct writer *w, struct stream *s) {
    uint64_t live = atomic_load(&moments.live);
    if (!heap_walk(w, s))
        return;
    atomic_store(&moments.seen, live);
    atomic_store(&moments.due, live + live / 4 > 16384 ? live + live / 4 : 16384);
    atomic_fetch_add(&moments.chunks, walk.chunks);
}

/* Is it worth a walk that a peak is over? */
static bool moments_peak(uint64_t peak) {
    enum { FREE_OF_CHARGE = 16 << 20 };
    uint64_t seen = atomic_load(&moments.seen);
    uint64_t records = atomic_load(&moments.records) * sizeof(struct trace_record);
    uint64_t walks = atomic_load(&moments.chunks) * sizeof(struct trace_chunk);
    uint64_t step = walks < records ? 0 : walks < records + FREE_OF_CHARGE ? seen / 64 : seen / 8;
    return peak > seen && peak - seen >= step;
}

/* Before the block is released, and before that is on record. */
static void moments_release(struct writer *w, struct stream *s, void *p, bool walks) {
    atomic_fetch_add_explicit(&moments.records, 1, memory_order_relaxed);
    if (!p)
        return;
    if (walks && atomic_load_explicit(&moments.rising, memory_order_relaxed)) {
        uint64_t peak = atomic_load(&moments.peak);
        atomic_store(&moments.rising, false);
        if (moments_peak(peak))
            moments_walk(w, s);
    }
    atomic_fetch_sub(&moments.live, next.malloc_usable_size(p));
}

/* After the block is on record. */
static void moments_allocate(struct writer *w, struct stream *s, void *p, bool walks) {
    atomic_fetch_add_explicit(&moments.records, 1, memory_order_relaxed);
    if (!p)
        return;
    uint64_t size = next.malloc_usable_size(p), live = atomic_fetch_add(&moments.live, size) + size;
    if (live > atomic_load_explicit(&moments.peak, memory_order_relaxed) && live <= INT64_MAX) {
        atomic_store(&moments.peak, live);
        atomic_store(&moments.rising, true);
    }
    if (walks && live <= INT64_MAX && live >= atomic_load_explicit(&moments.due, memory_order_relaxed))
        moments_walk(w, s);
}

/* A realloc that failed has left its block alone. */
static COLD void moments_keep(void *p) {
    atomic_fetch_add(&moments.live, next.malloc_usable_size(p));
}
