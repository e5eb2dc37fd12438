/* replay.c: plays a plan of calls under whatever malloc is preloaded, and measures it.
 *
 * The plan is a trace made ready (scripts/trace/plan.ts): addresses have become slots, the
 * order of calls has become, for each thread, a list of operations. A slot holds a block
 * from the operation that makes it to the one that ends it. Threads wait for each other
 * only there: a thread that needs a block waits until its slot is full, and one that has
 * made a block until its slot is empty. Every wait is for an earlier event of the trace, so
 * there is no deadlock.
 *
 *     thread 0   malloc→3   malloc→4   spawn 1    free 3        …
 *     thread 1                         free 4     malloc→4      …
 *                                      waits until 4 is full
 *
 * Each block is touched once in each of its pages, as its program presumably did, and
 * begins with its slot's number, which is checked at its end. Our own memory is mapped;
 * only pthread_create, if the trace had threads, allocates from the malloc under test.
 * The result is one line of JSON on standard output.
 *
 * With --heap nothing is timed: it measures the heap each time that it may have grown, and
 * prints its largest size.
 *
 * By hand: cc -O2 -pthread -o libmalloc-replay native/tools/replay.c
 */
#include "../base/platform.h"
#include "heap-size.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PLAN_NONE = 0x7fffffff, PLAN_PIECE = 4096 }; /* NONE: free(NULL) */

enum plan_kind {
    PLAN_MALLOC = 1,
    PLAN_CALLOC = 2,
    PLAN_ALIGNED = 3,
    PLAN_REALLOC = 4,
    PLAN_FREE = 5,
    PLAN_SPAWN = 6, /* slot: the number of the thread that begins */
};

/* `turn` counts the blocks that the slot has held before; `old` and `old_turn` say where
 * a realloc finds its block.
 *
 *     63                             32 31                                0
 *     ┌────────────────────────────────┬──────────────────────────────────┐
 *     │ turn                           │ slot                             │
 *     ├────────────────────────────────┼──────────────────────────────────┤
 *     │ old_turn                       │ old                              │
 *     ├──────────┬─────────┬───────────┴──────────────────────────────────┤
 *     │ log2 of  │ kind    │ size                                         │ what
 *     │ alignment│         │                                              │
 *     └──────────┴─────────┴──────────────────────────────────────────────┘
 *     63       56 55     48 47                                            0 */
struct plan_step {
    uint32_t slot, turn, old, old_turn;
    uint64_t what;
};
static_assert(sizeof(struct plan_step) == 24, "a fixed format");

/* The file: this, then pieces of up to PLAN_PIECE steps of one thread each, then a table of
 * pieces, those of thread 0 first, then for each thread how many pieces are its own. */
struct plan_header {
    char magic[8]; /* "LMPLAN1" */
    uint32_t threads, slots;
    uint64_t pieces, table; /* how many, and where the table is */
};
static_assert(offsetof(struct plan_header, threads) == 8, "a fixed format");
static_assert(offsetof(struct plan_header, slots) == 12, "a fixed format");
static_assert(offsetof(struct plan_header, pieces) == 16, "a fixed format");
static_assert(offsetof(struct plan_header, table) == 24, "a fixed format");
static_assert(sizeof(struct plan_header) == 32, "a fixed format");

struct plan_piece {
    uint64_t place;
    uint64_t steps;
};
static_assert(sizeof(struct plan_piece) == 16, "a fixed format");

struct slot {
    _Atomic(uint32_t) state;
    void *block;
    size_t size;
};

static struct {
    int fd;
    const struct plan_header *plan;
    const struct plan_piece *pieces;
    const uint32_t *shares; /* pieces of each thread */
    uint64_t *firsts;       /* the first piece of each thread */
    struct slot *slots;
    size_t page;
    atomic_uint running; /* threads that have begun and not ended */
    bool weigh;          /* --heap */
} play;

/* The result of --heap. A measurement is slow, so it waits for page faults: for one in a small heap,
 * for a 256th of the pages of a larger one. */
static struct {
    pthread_mutex_t lock;
    size_t peak;
    long faults; /* at the last look */
} weight = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Noreturn void fail(const char *what) {
    const char *parts[] = {"libmalloc-replay: ", what, "\n"};
    for (int i = 0; i < 3; i++)
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
            break;
    _exit(1);
}

/* Shared, so that it is no part of the heap when that is looked at. */
static void *map(size_t size) {
    int kind = play.weigh ? MAP_SHARED : MAP_PRIVATE;
    void *p = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE,
                   kind | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED)
        fail("no memory for ourselves");
    return p;
}

/* ── blocks ────────────────────────────────────────────────────────────────── */

/* Others must get on: at first they may be on another processor, later they need ours. */
static __attribute__((cold, noinline)) void wait_a_little(unsigned round) {
    if (round < 64)
        return;
    if (round < 256)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

/* A slot's state is twice its turn, and one more while it is full: a thread that is far
 * ahead of the others must not take what the slot held before. */
static void slot_wait(uint32_t slot, uint32_t state) {
    for (unsigned round = 0;
         atomic_load_explicit(&play.slots[slot].state, memory_order_acquire) != state; round++)
        wait_a_little(round);
}

static void slot_set(uint32_t slot, uint32_t state) {
    atomic_store_explicit(&play.slots[slot].state, state, memory_order_release);
}

static void *slot_take(uint32_t slot, uint32_t turn, size_t *size) {
    slot_wait(slot, 2 * turn + 1);
    void *block = play.slots[slot].block;
    *size = play.slots[slot].size;
    slot_set(slot, 2 * turn + 2);
    return block;
}

static void slot_give(uint32_t slot, uint32_t turn, void *block, size_t size) {
    slot_wait(slot, 2 * turn);
    play.slots[slot].block = block;
    play.slots[slot].size = size;
    slot_set(slot, 2 * turn + 1);
}

/* Writes to every page from `from` on, and the number of the slot where there is room. */
static void block_use(char *p, size_t from, size_t size, uint32_t slot) {
    if (size >= sizeof slot)
        memcpy(p, &slot, sizeof slot);
    size_t into = ((uintptr_t)p + from) & (play.page - 1);
    for (size_t at = from + (into ? play.page - into : 0); at < size; at += play.page)
        if (at >= sizeof slot)
            p[at] = 1;
}

/* Blocks of four bytes and more carry the number of their slot. */
static void block_check(const char *p, size_t size, uint32_t slot) {
    uint32_t found;
    if (size < sizeof found)
        return;
    memcpy(&found, p, sizeof found);
    if (found != slot)
        fail("a block has lost its content: this malloc gave its memory away, or broke it");
}

static void *block_made(void *p, size_t size, size_t alignment) {
    if (!p && size > 0)
        fail("out of memory: this malloc refused a block that the recorded one had");
    if ((uintptr_t)p & (alignment - 1))
        fail("a block is not aligned as was asked for");
    return p;
}

/* ── operations ────────────────────────────────────────────────────────────── */

static void thread_begin(uint32_t thread);

static void step_make(const struct plan_step *step, unsigned kind, size_t size, size_t alignment) {
    void *p = NULL;
    if (kind == PLAN_MALLOC)
        p = block_made(malloc(size), size, 1);
    else if (kind == PLAN_CALLOC)
        p = block_made(calloc(1, size), size, 1);
    else if (posix_memalign(&p, alignment < sizeof p ? sizeof p : alignment, size) == 0)
        block_made(p, size, alignment);
    else
        block_made(NULL, 1, 1);
    if (kind == PLAN_CALLOC && size > 0 && (*(char *)p || ((char *)p)[size - 1]))
        fail("a block of calloc is not zero");
    block_use(p, 0, size, step->slot);
    slot_give(step->slot, step->turn, p, size);
}

static void step_resize(const struct plan_step *step, size_t size) {
    size_t before;
    void *p = slot_take(step->old, step->old_turn, &before);
    p = block_made(realloc(p, size), size, 1);
    block_check(p, before < size ? before : size, step->old);
    block_use(p, before < size ? before : size, size, step->slot);
    slot_give(step->slot, step->turn, p, size);
}

static void step_free(const struct plan_step *step) {
    size_t size;
    void *p = step->slot == PLAN_NONE ? NULL : slot_take(step->slot, step->turn, &size);
    if (p)
        block_check(p, size, step->slot);
    free(p);
}

static void step_play(const struct plan_step *step) {
    size_t size = step->what & 0xffffffffffff;
    unsigned kind = step->what >> 48 & 0xff;
    if (kind <= PLAN_ALIGNED)
        step_make(step, kind, size, (size_t)1 << (step->what >> 56 & 63));
    else if (kind == PLAN_REALLOC)
        step_resize(step, size);
    else if (kind == PLAN_FREE)
        step_free(step);
    else if (kind == PLAN_SPAWN)
        thread_begin(step->slot);
    else
        fail("the plan is damaged");
}

/* ── threads ───────────────────────────────────────────────────────────────── */

static void weigh(bool always) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    long enough = (long)(weight.peak / play.page / 256);
    if (!always && usage.ru_minflt - weight.faults <= enough)
        return;
    if (pthread_mutex_trylock(&weight.lock) != 0)
        return; /* another thread looks just now */
    size_t size = heap_size();
    weight.peak = size > weight.peak ? size : weight.peak;
    getrusage(RUSAGE_SELF, &usage);
    weight.faults = usage.ru_minflt;
    pthread_mutex_unlock(&weight.lock);
}

/* After a free the heap is no larger. In a long trace, small blocks are looked at now and then. */
static bool may_grow(const struct plan_step *step, size_t at) {
    enum { LONG = 256, NOW_AND_THEN = 16, LARGE = 16 * 1024 };
    if ((step->what >> 48 & 0xff) > PLAN_REALLOC)
        return false;
    return play.plan->pieces <= LONG || at % NOW_AND_THEN == 0 ||
           (step->what & 0xffffffffffff) >= LARGE;
}

/* Steps are read piece by piece into memory that is there already: a mapped plan would
 * count as ours. */
static void thread_play(uint32_t thread, struct plan_step *steps) {
    const struct plan_piece *piece = play.pieces + play.firsts[thread];
    for (uint32_t i = 0; i < play.shares[thread]; i++, piece++) {
        size_t bytes = piece->steps * sizeof *steps;
        if (piece->steps > PLAN_PIECE ||
            pread(play.fd, steps, bytes, (off_t)piece->place) != (ssize_t)bytes)
            fail("the plan cannot be read");
        for (size_t at = 0; at < piece->steps; at++) {
            step_play(&steps[at]);
            if (play.weigh && may_grow(&steps[at], at))
                weigh(false);
        }
    }
    atomic_fetch_sub(&play.running, 1);
}

static void *thread_main(void *number) {
    struct plan_step *steps = map(PLAN_PIECE * sizeof *steps);
    thread_play((uint32_t)(uintptr_t)number, steps);
    munmap(steps, PLAN_PIECE * sizeof *steps);
    return NULL;
}

static void thread_begin(uint32_t thread) {
    pthread_attr_t attributes;
    pthread_t id;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (play.weigh)
        pthread_attr_setstack(&attributes, map(256 * 1024), 256 * 1024);
    else
        pthread_attr_setstacksize(&attributes, 256 * 1024);
    atomic_fetch_add(&play.running, 1);
    if (pthread_create(&id, &attributes, thread_main, (void *)(uintptr_t)thread) != 0)
        fail("a thread cannot be started");
    pthread_attr_destroy(&attributes);
}

/* ── the measure of it ─────────────────────────────────────────────────────── */

struct measure {
    double wall, cpu; /* seconds */
    long minor, major;
    size_t resident, peak; /* bytes */
};

/* A line such as `VmHWM:      3412 kB`, in bytes. */
static size_t status_line(const char *status, const char *name) {
    const char *line = strstr(status, name);
    return line ? strtoul(line + strlen(name), NULL, 10) * 1024 : 0;
}

static double seconds(long whole, long part, double unit) {
    return (double)whole + (double)part / unit;
}

static void measure_memory(struct measure *measured) {
    char status[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, status, sizeof status - 1);
    status[length > 0 ? length : 0] = 0;
    close(fd);
    measured->resident = status_line(status, "VmRSS:");
    measured->peak = status_line(status, "VmHWM:");
}

/* Called last before the calls and first after them, because reading /proc takes as long as hundreds of
 * calls. */
static void measure_time(struct measure *measured) {
    struct timespec now, cpu;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    clock_gettime(CLOCK_MONOTONIC, &now);
    measured->wall = seconds(now.tv_sec, now.tv_nsec, 1e9);
    measured->cpu = seconds(cpu.tv_sec, cpu.tv_nsec, 1e9);
    measured->minor = usage.ru_minflt;
    measured->major = usage.ru_majflt;
}

static void *mapped(uint64_t place, size_t size) {
    char *p = map(size);
    if (pread(play.fd, p, size, (off_t)place) != (ssize_t)size)
        fail("the plan cannot be read");
    return p;
}

static void plan_open(const char *name) {
    play.fd = open(name, O_RDONLY | O_CLOEXEC);
    if (play.fd < 0)
        fail("there is no such plan");
    play.plan = mapped(0, sizeof *play.plan);
    if (memcmp(play.plan->magic, "LMPLAN1", 8) != 0)
        fail("this is no plan of version 1; libmalloc replay makes one from a trace");
    uint32_t threads = play.plan->threads;
    size_t table = play.plan->pieces * sizeof *play.pieces;
    play.pieces = mapped(play.plan->table, table);
    play.shares = mapped(play.plan->table + table, threads * sizeof *play.shares);
    play.firsts = map(threads * sizeof *play.firsts);
    for (uint32_t i = 1; i < threads; i++)
        play.firsts[i] = play.firsts[i - 1] + play.shares[i - 1];
    play.slots = map(play.plan->slots * sizeof *play.slots);
    play.page = (size_t)sysconf(_SC_PAGESIZE);
}

static void play_all(struct plan_step *steps) {
    atomic_store(&play.running, 1);
    thread_play(0, steps);
    for (unsigned round = 0; atomic_load(&play.running) > 0; round++)
        wait_a_little(round);
}

static _Noreturn void weigh_all(void) {
    heap_size_open();
    weigh(true);
    play_all(map(PLAN_PIECE * sizeof(struct plan_step)));
    weigh(true);
    char line[64];
    int length = snprintf(line, sizeof line, "{\"heap\":%zu}\n", weight.peak);
    _exit(write(STDOUT_FILENO, line, (size_t)length) == length ? 0 : 1);
}

int main(int count, char **arguments) {
    play.weigh = count == 3 && strcmp(arguments[1], "--heap") == 0;
    if (count != (play.weigh ? 3 : 2))
        fail("usage: libmalloc-replay [--heap] PLAN");
    plan_open(arguments[count - 1]);
    if (play.weigh)
        weigh_all();
    struct plan_step *steps = map(PLAN_PIECE * sizeof *steps);
    struct measure before, after;
    measure_memory(&before);
    measure_time(&before);
    play_all(steps);
    measure_time(&after);
    measure_memory(&after);
    char line[512]; /* dprintf allocates */
    int length =
        snprintf(line, sizeof line,
                 "{\"wall\":%.9f,\"cpu\":%.9f,\"minorFaults\":%ld,\"majorFaults\":%ld,"
                 "\"before\":%zu,\"after\":%zu,\"peak\":%zu}\n",
                 after.wall - before.wall, after.cpu - before.cpu, after.minor - before.minor,
                 after.major - before.major, before.resident, after.resident, after.peak);
    _exit(write(STDOUT_FILENO, line, (size_t)length) == length ? 0 : 1);
}
