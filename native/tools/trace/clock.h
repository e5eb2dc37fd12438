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

/* Ticks per second: the counter's against the system's clock for 0.2 ms, exact to about
 * 0.05 %. Once for each trace. */
static uint64_t clock_rate(void) {
    if (!clock_is_counter)
        return 1000000000;
    uint64_t start = clock_system(CLOCK_MONOTONIC), ticks = clock_counter(), now, elapsed;
    do {
        now = clock_counter();
        elapsed = clock_system(CLOCK_MONOTONIC) - start;
    } while (elapsed < 200000);
    return (uint64_t)((double)(now - ticks) * 1e9 / (double)elapsed);
}
