/* huge.h: blocks that have a mapping of their own: those of more than LARGE bytes, and those
 * of GROWN bytes or more that realloc has grown (large.h).
 *
 * There are few of them, and their page faults cost far more than a search, so a hash table with
 * lists is good enough to find them. They grow by mremap: page tables move, bytes do not. A program
 * that maps and unmaps one length again and again pays for all page faults each time. So once it
 * asks for about the length that it freed a short while ago (`repeats`), we keep the mapping of the
 * block freed last (`idle`) for the next one, and unmap it when it has aged (idle_unmap).
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include "region.h"

enum { HUGE_BUCKETS = 256, RETRIES = 64 /* refused mappings that idle_unmap tries */ };

struct huge {
    struct huge *next;
    char *start, *user; /* the mapping; the block in it */
    size_t length;      /* of the mapping */
};

struct huges {
    struct huge *bucket[HUGE_BUCKETS];
    struct huge *spare;   /* records to reuse */
    struct huge *idle;    /* the mapping of a freed block, kept for the next one */
    struct huge *refused; /* mappings of freed blocks that the kernel would not unmap yet */
    size_t freed;         /* the length of the mapping of the last freed block, */
    uint64_t since;       /* and when that was, in ms */
    bool repeats;         /* such a length was wanted again soon, so one mapping is kept */
    size_t count, bytes, colored; /* blocks; bytes of their mappings, and before the blocks */
};

/* The link that points to the record of the block at `p`, or the last link of its list. */
static struct huge **huge_find(struct huges *all, void *p) {
    struct huge **at = &all->bucket[(uintptr_t)p / HUGE_PAGE % HUGE_BUCKETS];
    while (*at && (*at)->user != p)
        at = &(*at)->next;
    return at;
}

static void huge_link(struct huges *all, struct huge *block) {
    struct huge **at = huge_find(all, block->user);
    block->next = *at;
    *at = block;
    all->count++;
    all->bytes += block->length;
    all->colored += (size_t)(block->user - block->start);
}

static struct huge *huge_unlink(struct huges *all, struct huge **at) {
    struct huge *block = *at;
    *at = block->next;
    all->count--;
    all->bytes -= block->length;
    all->colored -= (size_t)(block->user - block->start);
    return block;
}

static void huge_put(struct huge **list, struct huge *block) {
    block->next = *list;
    *list = block;
}

static struct huge *huge_take(struct huge **list) {
    struct huge *block = *list;
    if (block)
        *list = block->next;
    return block;
}

/* A record; NULL if there is no memory. */
static struct huge *huge_record(struct huges *all) {
    struct huge *block = huge_take(&all->spare);
    return block ? block : record_cut(&slabs.pools[0], 64);
}

/* Takes the idle mapping if it is long enough, but at most a third too long; else returns NULL. If
 * nothing is idle, and such a mapping was freed a short while ago, sets `repeats`. */
static struct huge *huge_reuse(struct huges *all, size_t length, size_t alignment) {
    struct huge *block = all->idle;
    bool soon = all->freed && now_ms() - all->since < options.decay_ms;
    if (!block && soon && length <= all->freed && length >= all->freed / 4 * 3)
        all->repeats = true;
    if (!block || block->length < length || block->length / 4 * 3 > length ||
        (uintptr_t)block->start % alignment)
        return NULL;
    all->idle = NULL;
    return block;
}

/* If lengths repeat, keeps the mapping of a freed block as the idle one, and returns the one that
 * was idle before, or NULL. Otherwise returns this mapping. The caller unmaps what is returned. */
static struct huge *huge_retire(struct huges *all, struct huge *block) {
    struct huge *other = all->repeats ? all->idle : block;
    if (all->repeats)
        all->idle = block;
    all->freed = block->length;
    all->since = now_ms();
    return other;
}
