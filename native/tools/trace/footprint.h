/* footprint.h: what is looked at now and then while calls are recorded: how much memory the
 * process has, and, in a malloc of ours, how its heap is laid out.
 */
#pragma once

#include "stream.h"

static void look_note(struct writer *w, struct stream *s, uint64_t op, uint64_t address,
                      uint64_t much) {
    if (stream_room(s, w->thread, file_now()))
        record_write(s, address, op, 0, much);
}

/* /proc/self/statm: pages of address space, resident, and of these in files. Ours are
 * in a file, so the trace does not count itself. */
static void footprint(struct writer *w, struct stream *s, uint64_t now) {
    atomic_store_explicit(&trace.footprint_due, now + trace.millisecond, memory_order_relaxed);
    int saved = errno;
    char text[96];
    size_t length = file_read("/proc/self/statm", text, sizeof text - 1);
    text[length] = 0;
    char *at = text;
    strtoul(at, &at, 10);
    uint64_t resident = strtoul(at, &at, 10), shared = strtoul(at, &at, 10);
    if (length > 0 && resident >= shared)
        look_note(w, s, TRACE_FOOTPRINT, 0, (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE));
    errno = saved;
}

static uint64_t walk_owner(uint64_t owner) {
    if (!owner)
        return 0;
    for (unsigned i = 0; i < walk.known; i++)
        if (walk.owners[i] == owner)
            return i + 1;
    if (walk.known == sizeof walk.owners / sizeof *walk.owners)
        return 0;
    walk.owners[walk.known++] = owner;
    return walk.known;
}

static void walk_store(void) {
    size_t used = (size_t)((char *)walk.at - segment_content(walk.segment));
    walk.lost |= !segment_store(walk.segment, used);
    segment_head(walk.segment, TRACE_HEAP, walk.number, ++walk.part);
    walk.at = (void *)segment_content(walk.segment);
}

static int walk_visit(const struct libmalloc_chunk *c, void *unused) {
    (void)unused;
    if ((char *)(walk.at + 1) > segment_content(walk.segment) + SEGMENT_ROOM)
        walk_store();
    uintptr_t start = (uintptr_t)c->start, inside = c->user ? (uintptr_t)c->user - start : 0;
    *walk.at++ = (struct trace_chunk){
        .place = start | (uint64_t)c->kind << TRACE_OP_SHIFT,
        .extent = c->extent,
        .inside = (uint64_t)(inside < UINT32_MAX ? inside : UINT32_MAX) << 32 | c->size_class,
        .usable = c->usable | walk_owner(c->owner) << TRACE_OP_SHIFT,
    };
    walk.chunks++;
    return 0;
}

/* False where another thread is walking, or there is no room. */
static bool heap_walk(struct writer *w, struct stream *s) {
    if (!next.walk || atomic_flag_test_and_set(&walk.busy))
        return false;
    int saved = errno;
    walk.part = 0;
    walk.chunks = 0;
    walk.lost = false;
    walk.segment = segment_draft(TRACE_HEAP, walk.number, 0);
    if (walk.segment) {
        walk.at = (void *)segment_content(walk.segment);
        next.walk(walk_visit, NULL);
        walk_store();
        munmap(walk.segment, TRACE_SEGMENT);
        if (!walk.lost)
            look_note(w, s, TRACE_SNAPSHOT, walk.chunks, walk.number++);
    }
    bool done = walk.segment && !walk.lost;
    atomic_flag_clear(&walk.busy);
    errno = saved;
    return done;
}

static COLD void walk_now(struct writer *w, struct stream *s) {
    heap_walk(w, s);
    w->walk_at = w->calls + trace.walk_every;
}
