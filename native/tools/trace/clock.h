/* clock.h: a stamp that orders the calls of all threads, in ticks.
 *
 * x86 with an invariant TSC: the counter runs at one rate and is the same on every
 * processor; reading it costs 10 to 20 ns where clock_gettime costs 25 to 70. The fence
 * waits until all earlier loads have been served, so the stamp of an allocation is
 * taken after the load that found the block, and that of a release after the load that
 * found what to release; no later store is visible before it, so no other
 * thread can have a released block yet. Elsewhere the monotonic clock, which the system keeps in order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

static bool clock_is_counter;

static inline uint64_t clock_system(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#ifdef __x86_64__
#include <cpuid.h>
#include <x86intrin.h>

static void clock_choose(void) {
    unsigned a, b, c, power = 0;
    clock_is_counter = __get_cpuid(0x80000007, &a, &b, &c, &power) && power >> 8 & 1;
}

static inline uint64_t clock_counter(void) {
    _mm_lfence();
    return __rdtsc();
}
#else
static void clock_choose(void) {}
static inline uint64_t clock_counter(void) {
    return 0;
}
#endif

static inline uint64_t clock_ticks(void) {
    return likely(clock_is_counter) ? clock_counter() : clock_system(CLOCK_MONOTONIC);
}

struct clock_pair {
    uint64_t ticks, time;
};

/* The counter and the system's clock at one moment. On a busy machine another process may run between the
 * two: of several pairs, we take the one whose reading took the least time. */
static struct clock_pair clock_both(void) {
    struct clock_pair best = {0};
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 16; i++) {
        uint64_t before = clock_counter(), time = clock_system(CLOCK_MONOTONIC);
        uint64_t took = clock_counter() - before;
        if (took >= least)
            continue;
        least = took;
        best = (struct clock_pair){before + took / 2, time};
    }
    return best;
}

/* Ticks per second: the counter's against the system's clock for 0.2 ms, exact to about
 * 0.05 %. Once for each trace. */
static uint64_t clock_rate(void) {
    if (!clock_is_counter)
        return 1000000000;
    struct clock_pair start = clock_both(), end;
    do
        end = clock_both();
    while (end.time - start.time < 200000);
    return (uint64_t)((double)(end.ticks - start.ticks) * 1e9 / (double)(end.time - start.time));
}
