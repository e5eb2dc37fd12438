/* stream.h: who writes what, where.
 *
 *   1. Every thread has a writer, which only it touches, so a record takes no lock. The
 *      one lock guards the list of writers, with all signals blocked.
 *   2. A signal handler may allocate while its thread is writing a record: it finds
 *      `depth` above 0 and writes into another stream of the writer.
 *   3. There is no hook at a thread's end: any key or destructor of ours might run before
 *      the program's last call. A new thread takes the writer of one that the kernel no
 *      longer knows, and writes on in its segments.
 *   4. There is no hook at fork either, which could come too late and does not exist for
 *      a bare clone. `alive` is on a page that the kernel wipes in the child: the first
 *      call that finds it 0 begins a new process in the file.
 */
#pragma once

#include "nodes.h"
#include "../../unwind/last.h"

#include <pthread.h>

enum { NESTED = 3, SPARE = 5, RETRY = 4096, CANDIDATES = 4, SITE_SLOTS = 1 << TRACE_SITE_BITS };

struct stream {
    struct trace_record *at, *end; /* where the next record goes; equal without a segment */
    struct trace_segment *segment;
    uint64_t base;
    uint32_t number, order;
    uint32_t patience; /* calls to let go before the next try to get a segment */
    pid_t thread;      /* the last that is on record */
    uint64_t *sites;   /* the address or stack behind each site, in this segment */
    struct last *last; /* where stacks are recorded */
};

struct writer {
    struct writer *next;
    pid_t thread;
    unsigned depth;
    uint64_t calls, walk_at; /* calls so far, and at which to walk over the heap */
    struct stream stream[NESTED];
    struct trace_counts *counts; /* instead of streams, where calls are only counted */
};

static struct {
    bool on, counting;
    bool watched; /* stacks or snapshots: note_watched */
    uint32_t options;
    uint64_t walk_every; /* calls between two walks; 0: as the trace grows */
    _Atomic(uint32_t) *alive;
    _Atomic(uint32_t) streams;
    _Atomic(uint64_t) footprint_due; /* ticks */
    uint64_t millisecond;            /* ticks */
    pthread_mutex_t lock;
    struct trace_counts *shared; /* that of stream 0 */
    uint64_t live, blocks;       /* counted so far, where we are a forked child */
    atomic_flag looking;
    struct writer *writers, *spare; /* spare: never used, in the last page that was mapped */
    size_t spares;
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct writer *here;

/* One walk over the heap at a time; who comes meanwhile goes without. */
static struct {
    atomic_flag busy;
    bool lost;
    uint32_t number, part;
    uint64_t chunks;
    struct trace_segment *segment;
    struct trace_chunk *at;
    unsigned known;
    uint64_t owners[4096]; /* in the order in which we met them */
} walk;

static void lose(uint64_t records) {
    atomic_fetch_add(&file.header->lost, records);
}

/* ── processes ─────────────────────────────────────────────────────────────── */

/* What the parent's threads had: only ours came along, and unless it was interrupted
 * while writing, nobody needs their segments here. */
static void writers_forget(void) {
    bool busy = here && here->depth > 0;
    if (trace.shared) {
        trace.live = atomic_load(&trace.shared->live);
        trace.blocks = atomic_load(&trace.shared->blocks);
    }
    for (struct writer *w = trace.writers; w && !busy; w = w->next)
        for (int i = 0; i < NESTED; i++)
            if (w->stream[i].segment)
                munmap(w->stream[i].segment, TRACE_SEGMENT);
    trace.writers = NULL;
    trace.shared = NULL;
    trace.spares = 0;
    here = NULL;
    if (callers.segment && !busy)
        munmap(callers.segment, TRACE_SEGMENT);
    memset(&callers, 0, sizeof callers);
    callers.tree.memory = memory_apart;
}

/* With signals blocked. At the start, and at a forked child's first call. */
static void process_begin(void) {
    uint32_t parent = file.process;
    trace.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    writers_forget();
    walk.segment = NULL; /* the parent's, if it was walking */
    walk.number = 0;
    atomic_flag_clear(&walk.busy);
    atomic_flag_clear(&trace.looking);
    file.process = atomic_fetch_add(&file.header->processes, 1) + 1;
    atomic_store(&trace.streams, 0);
    atomic_store(&trace.footprint_due, 0);
    process_describe(parent);
    maps_write();
    atomic_store(trace.alive, 1);
}

/* ── writers ───────────────────────────────────────────────────────────────── */

/* A writer whose thread has ended. The list turns, so that each gets its look; a number
 * that belongs to us now was somebody else's before. */
static struct writer *writer_inherit(pid_t self, pid_t process) {
    for (int i = 0; i < CANDIDATES && trace.writers; i++) {
        struct writer *w = trace.writers;
        if (w->thread == self ||
            (syscall(SYS_tgkill, process, w->thread, 0) != 0 && errno == ESRCH))
            return w;
        struct writer **end = &trace.writers;
        while (*end)
            end = &(*end)->next;
        trace.writers = w->next;
        w->next = NULL;
        *end = w;
        if (trace.writers == w)
            break;
    }
    return NULL;
}

/* At an exit: those of this thread, and of threads that have ended. What others are
 * writing at this moment stays without a sum. */
static void writers_sum_up(void) {
    struct calm calm = calm_begin();
    pid_t self = (pid_t)syscall(SYS_gettid), process = (pid_t)syscall(SYS_getpid);
    if (pthread_mutex_trylock(&trace.lock) != 0) {
        calm_end(calm);
        return;
    }
    for (struct writer *w = trace.writers; w; w = w->next) {
        if (w->thread != self &&
            (syscall(SYS_tgkill, process, w->thread, 0) == 0 || errno != ESRCH))
            continue;
        for (struct stream *s = w->stream; s < w->stream + NESTED; s++)
            if (s->segment)
                segment_sum_up(s->segment, (size_t)((char *)s->at - segment_content(s->segment)));
    }
    if (callers.segment)
        segment_sum_up(callers.segment, (size_t)((char *)callers.at - segment_content(callers.segment)));
    pthread_mutex_unlock(&trace.lock);
    calm_end(calm);
}

static void counts_begin(struct writer *w) {
    struct trace_segment *segment = segment_live(sizeof *segment + sizeof *w->counts);
    w->stream[0].segment = segment;
    if (!segment)
        return;
    segment_head(segment, TRACE_COUNTS, w->stream[0].number, 0);
    segment->used = sizeof *w->counts;
    w->counts = (void *)segment_content(segment);
    if (!trace.shared) {
        trace.shared = w->counts;
        atomic_store(&trace.shared->live, trace.live);
        atomic_store(&trace.shared->blocks, trace.blocks);
        trace.shared->visible = (next.malloc_usable_size ? 1u : 0) | (next.size ? 2u : 0);
    }
}

static struct writer *writer_new(void) {
    enum { SLAB = 16384 };
    if (trace.spares == 0) {
        void *slab = mmap(NULL, SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (slab == MAP_FAILED)
            return NULL;
        trace.spare = slab;
        trace.spares = SLAB / sizeof *trace.spare;
    }
    trace.spares--;
    struct writer *w = trace.spare++;
    for (int i = 0; i < NESTED; i++)
        w->stream[i].number = atomic_fetch_add(&trace.streams, 1);
    w->next = trace.writers;
    if (trace.counting)
        counts_begin(w);
    return trace.writers = w;
}

/* A thread's first call, or a process's. */
static COLD struct writer *writer_find(void) {
    struct calm calm = calm_begin();
    if (!atomic_load(trace.alive))
        process_begin();
    pid_t self = (pid_t)syscall(SYS_gettid);
    pthread_mutex_lock(&trace.lock);
    struct writer *w = writer_inherit(self, (pid_t)syscall(SYS_getpid));
    if (!w)
        w = writer_new();
    if (w) {
        w->thread = self;
        w->depth = 0;
        w->calls = 0;
        w->walk_at = trace.options & TRACE_SNAPSHOTS && trace.walk_every ? trace.walk_every
                                                                         : UINT64_MAX;
    }
    here = w;
    pthread_mutex_unlock(&trace.lock);
    calm_end(calm);
    return w;
}

static inline struct writer *writer_here(void) {
    struct writer *w = here;
    if (likely(w && atomic_load_explicit(trace.alive, memory_order_relaxed)))
        return w;
    return writer_find();
}

/* ── records ───────────────────────────────────────────────────────────────── */

static inline void record_write(struct stream *s, uint64_t address, uint64_t op, uint64_t site,
                                uint64_t much) {
    s->at->much = much;
    /* A reader, and a kill, find the whole record or none. */
    atomic_store_explicit((_Atomic(uint64_t) *)&s->at->what,
                          trace_checked(address | op << TRACE_OP_SHIFT |
                                            site << (TRACE_OP_SHIFT + TRACE_OP_BITS),
                                        much),
                          memory_order_release);
    s->at++;
}

static void stream_begin(struct stream *s, size_t room, pid_t thread, uint64_t stamp) {
    segment_start(s->segment, TRACE_EVENTS, s->number, s->order++, (uint32_t)thread, stamp);
    s->thread = thread;
    s->base = stamp;
    s->at = (void *)segment_content(s->segment);
    s->end = (void *)((char *)s->segment + room);
    if (s->sites)
        memset(s->sites, 0, SITE_SLOTS * sizeof *s->sites);
}

static void stream_store(struct stream *s) {
    uint64_t records = (uint64_t)(s->at - (struct trace_record *)(void *)segment_content(s->segment));
    if (!segment_empty(s->segment, records * sizeof *s->at))
        lose(records);
}

static uint64_t *sites_new(void) {
    size_t size = SITE_SLOTS * sizeof(uint64_t);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Room for SPARE records; false when they are lost. */
static COLD bool stream_refill(struct stream *s, pid_t thread, uint64_t stamp) {
    if (s->patience > 0) {
        s->patience--;
        return false;
    }
    struct calm calm = calm_begin();
    size_t room = s->segment ? (size_t)((char *)s->end - (char *)s->segment) : segment_step();
    /* A forked child that returns into this record would extend its parent's segment. */
    if (s->segment && atomic_load(trace.alive) && segment_extend(s->segment, room)) {
        s->end = (void *)((char *)s->segment + TRACE_SEGMENT);
        calm_end(calm);
        return true;
    }
    if (s->segment)
        stream_store(s);
    else
        s->segment = segment_live(room);
    if (trace.options & (TRACE_SITES | TRACE_WITH_STACKS) && !s->sites)
        s->sites = sites_new();
    if (s->segment)
        stream_begin(s, room, thread, stamp);
    else
        s->patience = RETRY;
    calm_end(calm);
    return s->segment;
}

/* `stamp`: of the event that wants it. */
static inline bool stream_room(struct stream *s, pid_t thread, uint64_t stamp) {
    return likely(s->end - s->at >= SPARE) || stream_refill(s, thread, stamp);
}

static COLD void site_learn(uintptr_t site) {
    struct calm calm = calm_begin();
    if (pthread_mutex_trylock(&trace.lock) == 0) {
        code_meet(site);
        pthread_mutex_unlock(&trace.lock);
    }
    calm_end(calm);
}

/* The slot of a stack, or of a site where no stacks are recorded. A stack's callers are known. */
static uint64_t site_slot(struct stream *s, uintptr_t site, uint32_t stack) {
    if (!s->sites || !site)
        return 0;
    uint64_t key = stack ? stack | 1ull << 63 : site;
    uint64_t slot = 1 + (key * 0x9e3779b97f4a7c15u >> 32) % (SITE_SLOTS - 1);
    if (unlikely(s->sites[slot] != key)) {
        if (!stack && !code_known(site))
            site_learn(site);
        s->sites[slot] = key;
        record_write(s, site & TRACE_ADDRESS_MASK, TRACE_SITE, slot,
                     stack | (uint64_t)(site >> TRACE_ADDRESS_BITS) << 32);
    }
    return slot;
}

/* A call as it was made. `stamp`: ticks since the origin. */
struct call {
    uint64_t op, address, size, alignment, stamp;
    uintptr_t site;
    uint32_t stack;
};

/* Whatever does not fit into one record: a full segment, the first record of a thread,
 * more than a second since the base, 4 GiB, an alignment, a call site. */
static COLD void record_long(struct stream *s, pid_t thread, const struct call *c) {
    if (!stream_room(s, thread, c->stamp)) {
        lose(1);
        return;
    }
    if (s->thread != thread) {
        record_write(s, 0, TRACE_THREAD, 0, (uint64_t)thread);
        s->thread = thread;
    }
    if (c->stamp - s->base > UINT32_MAX) {
        s->base = c->stamp;
        record_write(s, 0, TRACE_BASE, 0, s->base);
    }
    uint64_t limit = (uint64_t)1 << TRACE_ADDRESS_BITS;
    if (c->size > UINT32_MAX || c->alignment)
        record_write(s, c->alignment < limit ? c->alignment : limit - 1, TRACE_WIDE, 0, c->size);
    if (c->address >= limit)
        record_write(s, 0, TRACE_FAR, 0, c->address);
    uint64_t site = site_slot(s, c->site, c->stack);
    record_write(s, c->address & (limit - 1), c->op, site,
                 (c->stamp - s->base) << 32 | (c->size & UINT32_MAX));
}

static inline void record_call(struct writer *w, struct stream *s, struct call c) {
    uint64_t ticks = c.stamp - s->base;
    if (likely(s->at < s->end && s->thread == w->thread && !s->sites &&
               !(ticks >> 32 | c.size >> 32 | c.alignment | c.address >> TRACE_ADDRESS_BITS)))
        record_write(s, c.address, c.op, 0, ticks << 32 | c.size);
    else
        record_long(s, w->thread, &c);
}
