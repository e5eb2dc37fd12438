/*
 * The time of single calls: a histogram for malloc, and one for free.
 *
 *     "latency":{"malloc":{"calls":n,"p50":…,"p99":…,"p999":…,"greatest":…},"free":{…}}
 *
 * Nanoseconds by the clock. The clock is read before and after each call; the mean cost of two
 * readings is subtracted from the figures. The program's first write to a new block is not timed,
 * nor is the page fault that it may cause.
 *
 * On x86-64 the clock is the time stamp counter, which costs less than clock_gettime; the two are
 * compared over the whole run to learn how long a tick is. Both may advance in steps: of 10 ns on
 * some virtual machines. A call of 13 ns is then measured as 10 ns in seven cases of ten, and as 20
 * in the others. So quantiles are interpolated between the values that occur.
 *
 * Time in which the kernel ran something else on our processor does not count. The thread's CPU
 * clock does not include it, but costs too much to be read at each call; so it is read after the
 * few calls that took long, and now and then.
 */
#pragma once
#include "life.h"

/* Ticks of a call that took long, and calls between two readings of the thread's clock. */
enum { LONG = 50000, OFTEN = 1024 };

/* 64 cells of a tick, then 32 for each doubling. */
enum { FINE = 64, STEPS = 32, CELLS = FINE + STEPS * 36 };

struct histogram {
    uint64_t calls, greatest, cell[CELLS];
};

static struct histogram mallocs, frees;
static struct {
    double price;                /* of two readings of the clock, in ticks */
    uint64_t ticks, nanoseconds; /* at the beginning */
    uint64_t away;               /* nanoseconds in which the thread did not run, by the last reading */
} latency;

static inline uint64_t nanoseconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline uint64_t nanoseconds(void) { return nanoseconds_of(CLOCK_MONOTONIC); }

static inline uint64_t ticks(void)
{
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    return nanoseconds();
#endif
}

/* Ticks for which the thread has not run since the last call of this function. */
static inline uint64_t away_since(void)
{
    uint64_t now = nanoseconds(), away = now - nanoseconds_of(CLOCK_THREAD_CPUTIME_ID);
    double since = (double)(int64_t)(away - latency.away);
    double tick = (double)(ticks() - latency.ticks) / (double)(now - latency.nanoseconds);
    latency.away = away;
    return since > 0 ? (uint64_t)(since * tick) : 0;
}

/* Below 2^41 ticks, which is a quarter of an hour at least. */
static inline void histogram_add(struct histogram *histogram, uint64_t took)
{
    if (took > LONG || histogram->calls % OFTEN == 0) {
        uint64_t away = away_since();
        took = took > LONG ? took - (away < took ? away : took) : took;
    }
    uint64_t doubling = took < FINE ? 0 : 63 - (uint64_t)__builtin_clzll(took);
    uint64_t inside = took < FINE ? 0 : (took >> (doubling - 5)) - STEPS;
    uint64_t at = took < FINE ? took : FINE + (doubling - 6) * STEPS + inside;
    histogram->cell[at < CELLS ? at : CELLS - 1]++;
    histogram->calls++;
    if (took > histogram->greatest)
        histogram->greatest = took;
}

/* The lowest number of ticks in a cell. */
static inline double cell_start(int at)
{
    if (at < FINE)
        return at;
    return (double)((STEPS + (uint64_t)(at - FINE) % STEPS) << ((at - FINE) / STEPS + 1));
}

/* The next cell with a call in it, from `at` in the direction of `step`; `at` if there is none. */
static inline int cell_beside(const struct histogram *histogram, int at, int step)
{
    for (int next = at + step; next >= 0 && next < CELLS; next += step)
        if (histogram->cell[next] > 0)
            return next;
    return at;
}

/* The quantile `q`, in ticks: the share `q` of all calls took no longer. The calls of a cell count as
   spread evenly over half the way to its neighbours. */
static inline double quantile(const struct histogram *histogram, double q)
{
    double wanted = (double)histogram->calls * q, below = 0;
    for (int at = 0; at < CELLS; at++) {
        double here = (double)histogram->cell[at];
        if (here > 0 && below + here >= wanted) {
            double start = (cell_start(at) + cell_start(cell_beside(histogram, at, -1))) / 2;
            double end = (cell_start(at) + cell_start(cell_beside(histogram, at, 1))) / 2;
            return start + (end - start) * (wanted - below) / here;
        }
        below += here;
    }
    return (double)histogram->greatest;
}

/* Measures the cost of two readings of the clock. */
static inline void latency_begin(void)
{
    enum { LOOKS = 100000 };
    uint64_t sum = 0;
    for (int i = 0; i < LOOKS; i++) {
        uint64_t before = ticks(), took = ticks() - before;
        sum += took < 1000 ? took : 0; /* without interrupts */
    }
    latency.price = (double)sum / LOOKS;
    latency.nanoseconds = nanoseconds();
    latency.ticks = ticks();
    nap(0.001);
    away_since();
}

static inline void *timed_malloc(size_t size)
{
    uint64_t before = ticks();
    char *block = malloc(size);
    histogram_add(&mallocs, ticks() - before);
    if (block == NULL)
        life_fail("out of memory");
    *block = 1;
    return block;
}

static inline void timed_free(void *block)
{
    uint64_t before = ticks();
    free(block);
    histogram_add(&frees, ticks() - before);
}

/* Nanoseconds without the cost of readings; `tick` is the length of a tick. */
static inline double net(double ticks, double tick)
{
    return ticks > latency.price ? (ticks - latency.price) * tick : 0;
}

/* Appends a histogram's figures to life.latency. */
static inline void histogram_print(const char *name, const struct histogram *h, double tick)
{
    char *text = life.latency + strlen(life.latency);
    snprintf(text, sizeof life.latency / 3,
             "\"%s\":{\"calls\":%zu,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"greatest\":%.1f}", name,
             (size_t)h->calls, net(quantile(h, 0.5), tick), net(quantile(h, 0.99), tick),
             net(quantile(h, 0.999), tick), net((double)h->greatest, tick));
}

/* Adds both to the line that life_end prints. */
static inline void latency_end(void)
{
    double passed = (double)(nanoseconds() - latency.nanoseconds);
    double tick = passed / (double)(ticks() - latency.ticks);
    strcpy(life.latency, ",\"latency\":{");
    histogram_print("malloc", &mallocs, tick);
    strcat(life.latency, ",");
    histogram_print("free", &frees, tick);
    strcat(life.latency, "}");
}
