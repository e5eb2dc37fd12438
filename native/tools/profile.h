/* profile.h: what `libmalloc profile` writes down, in segments of a trace file (trace.h).
 *
 * Not calls but sums stand here: for each stack what was allocated there, what of it is live, and
 * what was live at the peak. The sums are in segments that the process maps shared and updates in
 * place, so _exit, exec and kill -9 lose nothing, and a profile does not grow with time.
 *
 *     PROFILE_TOTALS   one per process: struct profile_totals
 *     PROFILE_SITES    struct profile_site, in the order in which their stacks were met; `order` 0, 1, …
 *     PROFILE_MOMENT   struct profile_live of one snapshot; `stream` is its number, `thread` its cause
 *     PROFILE_HELD     struct profile_held, at an exit: what points to what is live
 *     TRACE_STACKS, TRACE_PROCESS, TRACE_MAPS: as in every trace
 *
 * Sampling. A thread draws how many bytes it will allocate until the next sample, exponentially
 * distributed with the mean `every`. So a block of s bytes is sampled with the probability
 * p = 1 - exp(-s/every), independently of all others, and stands for 1/p blocks and s/p bytes: the
 * sums are unbiased. With `every` 0 all blocks are looked at, and the sums are exact.
 */
#pragma once

#include "trace.h"

enum profile_kind {
    PROFILE_TOTALS = 8,
    PROFILE_SITES = 9,
    PROFILE_MOMENT = 10,
    PROFILE_HELD = 11,
};

struct profile_amount {
    double bytes, blocks;
};

struct profile_totals {
    uint64_t every;   /* bytes between two samples in the mean */
    uint64_t last;    /* ticks since the origin: the last sample, or the exit */
    uint64_t peak_at; /* ticks: when the peak was reached */
    uint64_t missed;  /* samples that were lost: no memory, no room in the file */
    uint32_t peaks;   /* numbers the times at which more was live than ever before */
    uint32_t moments; /* snapshots taken */
    struct profile_amount allocated, short_lived, live, peak;
};
static_assert(offsetof(struct profile_totals, last) == 8, "a fixed format");
static_assert(offsetof(struct profile_totals, peak_at) == 16, "a fixed format");
static_assert(offsetof(struct profile_totals, missed) == 24, "a fixed format");
static_assert(offsetof(struct profile_totals, peaks) == 32, "a fixed format");
static_assert(offsetof(struct profile_totals, moments) == 36, "a fixed format");
static_assert(offsetof(struct profile_totals, allocated) == 40, "a fixed format");
static_assert(offsetof(struct profile_totals, short_lived) == 56, "a fixed format");
static_assert(offsetof(struct profile_totals, live) == 72, "a fixed format");
static_assert(offsetof(struct profile_totals, peak) == 88, "a fixed format");
static_assert(sizeof(struct profile_totals) == 104, "a fixed format");

/* What was live at the peak is kept without looking at all sites at each peak: a site that changes
 * for the first time after peak number n saves what it had in `at_peak` and n in `peak`. So
 * at_peak holds where `peak` is the last peak's number, and elsewhere the site has not changed
 * since, and `live` is what it had. */
struct profile_site {
    uint32_t node; /* of the stack, in the tree of calls; 0: not known */
    uint32_t peak;
    uint64_t samples;
    uint64_t live_samples; /* 0: nothing is live, whatever rounding left in `live` */
    struct profile_amount allocated, short_lived, live, at_peak;
    double ages; /* sum over freed blocks: ticks from allocation to free */
    double born; /* sum over live blocks: ticks of allocation since the origin */
};
static_assert(offsetof(struct profile_site, peak) == 4, "a fixed format");
static_assert(offsetof(struct profile_site, samples) == 8, "a fixed format");
static_assert(offsetof(struct profile_site, live_samples) == 16, "a fixed format");
static_assert(offsetof(struct profile_site, allocated) == 24, "a fixed format");
static_assert(offsetof(struct profile_site, short_lived) == 40, "a fixed format");
static_assert(offsetof(struct profile_site, live) == 56, "a fixed format");
static_assert(offsetof(struct profile_site, at_peak) == 72, "a fixed format");
static_assert(offsetof(struct profile_site, ages) == 88, "a fixed format");
static_assert(offsetof(struct profile_site, born) == 96, "a fixed format");
static_assert(sizeof(struct profile_site) == 104, "a fixed format");

struct profile_live {
    uint64_t site; /* its number, from 0 */
    struct profile_amount live;
};
static_assert(offsetof(struct profile_live, live) == 8, "a fixed format");
static_assert(sizeof(struct profile_live) == 24, "a fixed format");

enum profile_cause { PROFILE_BY_TIME = 0, PROFILE_BY_SIGNAL = 1 };

/* Live blocks of one site that one root leads to, through other blocks if need be. */
struct profile_held {
    uint64_t site;
    uint64_t root; /* the address of the word that leads there; 0: none does, the blocks are lost */
    struct profile_amount live;
};
static_assert(offsetof(struct profile_held, root) == 8, "a fixed format");
static_assert(offsetof(struct profile_held, live) == 16, "a fixed format");
static_assert(sizeof(struct profile_held) == 32, "a fixed format");
