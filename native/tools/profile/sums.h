/* sums.h: the segments of a profile, which the process updates in place.
 *
 * Rule: everything here is touched under profile.lock, which a signal handler only tries.
 */
#pragma once

#include "../profile.h"
#include "../trace/next.h"
#include "../trace/clock.h"
#include "../trace/process.h"

#include <pthread.h>

/* A sampled block: see blocks.h. */
struct block {
    uintptr_t address;
    uint64_t size;
    double weight;   /* blocks that it stands for */
    uint64_t born;   /* ticks since the origin */
    uint64_t serial; /* how far its thread had come: see block_was_short */
    uint64_t left;
    uint32_t thread; /* a number of ours; 0: of an unknown thread */
    uint32_t site;
};

enum { GROUP = SEGMENT_ROOM / sizeof(struct profile_site), GROUPS = 4096 };

static struct {
    bool on, rooted;
    uint64_t every;
    uint64_t moment_every, moment_due; /* ticks; 0 and never */
    atomic_bool moment_wanted;
    int signal;
    _Atomic(uint32_t) *alive; /* on a page that the kernel wipes in a forked child */
    _Atomic(uint32_t) threads;
    pthread_mutex_t lock;
    struct profile_totals *totals, lost; /* lost: in place of a segment that could not be had */
    struct trace_segment *groups[GROUPS];
    uint32_t sites;
} profile = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A segment that stays in use to the end, and is never sealed: its head has a sum of its own. */
static struct trace_segment *segment_lasting(uint32_t kind, uint32_t order, size_t room) {
    struct trace_segment *segment = segment_live(room);
    if (!segment)
        return NULL;
    segment_start(segment, kind, 0, order, 0, file_now());
    return segment;
}

/* A small process often has no sample: it gets no segment. */
static void totals_begin(void) {
    profile.lost = (struct profile_totals){.every = profile.every, .last = file_now()};
    profile.totals = &profile.lost;
}

static void totals_share(void) {
    struct trace_segment *segment = segment_lasting(PROFILE_TOTALS, 0, segment_step());
    if (!segment)
        return;
    struct profile_totals *totals = (void *)segment_content(segment);
    *totals = *profile.totals;
    segment->used = sizeof *totals;
    profile.totals = totals;
}

static struct profile_site *site_at(uint32_t number) {
    struct trace_segment *group = profile.groups[number / GROUP];
    return (struct profile_site *)(void *)segment_content(group) + number % GROUP;
}

/* A new site for a node; UINT32_MAX without room. */
static uint32_t site_new(uint32_t node) {
    uint32_t number = profile.sites, group = number / (uint32_t)GROUP;
    if (group >= GROUPS)
        return UINT32_MAX;
    if (number == 0)
        totals_share();
    if (!profile.groups[group])
        profile.groups[group] = segment_lasting(PROFILE_SITES, group, TRACE_SEGMENT);
    if (!profile.groups[group])
        return UINT32_MAX;
    site_at(number)->node = node;
    profile.sites++;
    profile.groups[group]->used += (uint32_t)sizeof(struct profile_site);
    return number;
}

static void amount_add(struct profile_amount *to, double bytes, double weight) {
    to->bytes += bytes;
    to->blocks += weight;
}

/* Before its live blocks change. */
static void site_remember(struct profile_site *site) {
    if (site->peak == profile.totals->peaks)
        return;
    site->at_peak = site->live;
    site->peak = profile.totals->peaks;
}

static void site_gain(struct profile_site *site, size_t size, double weight, uint64_t now) {
    struct profile_totals *t = profile.totals;
    double bytes = (double)size * weight;
    site_remember(site);
    site->samples++;
    site->live_samples++;
    site->born += (double)now * weight;
    amount_add(&site->allocated, bytes, weight);
    amount_add(&site->live, bytes, weight);
    amount_add(&t->allocated, bytes, weight);
    amount_add(&t->live, bytes, weight);
    if (t->live.bytes <= t->peak.bytes)
        return;
    t->peak = t->live;
    t->peak_at = now;
    t->peaks++;
}

static void site_lose(struct profile_site *site, size_t size, double weight, uint64_t born,
                      uint64_t now) {
    double bytes = (double)size * weight;
    site_remember(site);
    amount_add(&site->live, -bytes, -weight);
    amount_add(&profile.totals->live, -bytes, -weight);
    site->ages += (double)(now - born) * weight;
    site->born -= (double)born * weight;
    if (--site->live_samples > 0)
        return;
    site->live = (struct profile_amount){0};
    site->born = 0;
}

/* What is live now, in segments that are finished at once. */
static void moment_write(uint32_t cause) {
    enum { ROOM = SEGMENT_ROOM / sizeof(struct profile_live) };
    uint32_t number = profile.totals->moments++, order = 0;
    struct trace_segment *draft = NULL;
    size_t used = 0;
    for (uint32_t i = 0; i <= profile.sites; i++) {
        bool last = i == profile.sites;
        if (!draft && !(draft = segment_draft(PROFILE_MOMENT, number, order++)))
            return;
        struct profile_live *live = (void *)segment_content(draft);
        if (!last && site_at(i)->live_samples)
            live[used++] = (struct profile_live){i, site_at(i)->live};
        if (!last && used < ROOM)
            continue;
        draft->thread = cause;
        segment_finish(draft, used * sizeof *live);
        draft = NULL;
        used = 0;
    }
}
