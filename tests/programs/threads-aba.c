/* Threads take and drop blocks of three small sizes, a few at a time, as fast as they can. A free
 * list without a lock that compares only its head takes a block that has left and come back for
 * the same list (ABA), and hands out a block that somebody has.
 *
 *     threads-aba [threads] [calls of each]
 */
#include "program.h"

enum { HELD = 3, SIZES = 3, FASTEST = 50000, SLOWEST = 100000000 /* ns */ };
static const size_t sizes[SIZES] = {48, 64, 96};
static long calls;

struct block {
    _Atomic uint64_t link, owner, rest[4];
};

static void take(struct block **slot, uint64_t me, size_t size) {
    struct block *p = must_malloc(size);
    atomic_store_explicit(&p->owner, me, memory_order_relaxed);
    for (int i = 0; i < 4; i++)
        atomic_store_explicit(&p->rest[i], me ^ (uint64_t)i, memory_order_relaxed);
    *slot = p;
}

static void drop(struct block *p, uint64_t me, size_t size) {
    uint64_t owner = atomic_load_explicit(&p->owner, memory_order_relaxed);
    check(owner == me, "a block of %zu bytes at %p is held by two threads at once", size, (void *)p);
    for (int i = 0; i < 4; i++)
        check(atomic_load_explicit(&p->rest[i], memory_order_relaxed) == (me ^ (uint64_t)i),
              "a block of %zu bytes at %p was changed", size, (void *)p);
    free(p);
}

/* A clock for each thread makes it step aside at any instruction, also within malloc. It slows down
 * where nothing was done between two of its ticks: a slow malloc gets on, too. */
static _Thread_local struct {
    timer_t timer;
    long period; /* ns */
    volatile long done, seen;
} mine;

static void tick(void) {
    struct itimerspec often = {{0, mine.period}, {0, mine.period}};
    check(timer_settime(mine.timer, 0, &often, NULL) == 0, "timer_settime: %s", strerror(errno));
}

static void step_aside(int signal) {
    (void)signal;
    int saved = errno;
    if (mine.done == mine.seen && mine.period < SLOWEST) {
        mine.period *= 2;
        tick();
    }
    mine.seen = mine.done;
    sched_yield();
    errno = saved;
}

static void disturb(void) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event._sigev_un._tid = gettid();
    check(timer_create(CLOCK_MONOTONIC, &event, &mine.timer) == 0, "timer_create: %s", strerror(errno));
    mine.period = FASTEST;
    tick();
}

static void *exchange(void *arg) {
    disturb();
    uint64_t me = (uint64_t)(uintptr_t)arg + 1, random = me, tag = me << 48;
    struct block *held[SIZES][HELD] = {{NULL}};
    uint64_t tags[SIZES][HELD];
    for (long i = 0; i < calls; i++) {
        uint64_t dice = chance(&random);
        mine.done = i;
        size_t s = dice % SIZES, k = (dice >> 8) % HELD;
        if (held[s][k]) {
            drop(held[s][k], tags[s][k], sizes[s]);
            held[s][k] = NULL;
        } else {
            take(&held[s][k], tags[s][k] = ++tag, sizes[s]);
        }
    }
    timer_delete(mine.timer);
    for (int s = 0; s < SIZES; s++)
        for (int k = 0; k < HELD; k++)
            if (held[s][k])
                drop(held[s][k], tags[s][k], sizes[s]);
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 6);
    calls = argument(argc, argv, 2, 400000);
    struct sigaction action = {.sa_handler = step_aside, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    run_threads(threads, exchange);
    return 0;
}
