/* huge.h: blocks that have a mapping of their own: those of more than LARGE bytes, and those
 * that have grown by realloc.
 *
 * They are few and their price is that of their pages, so a list in a hash table will do to
 * find them. They grow by mremap: page tables move, bytes do not. A program that maps and
 * unmaps the same length again and again pays for its pages each time, so once that was seen
 * to happen, the last mapping freed is kept for the next block, until it has aged.
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include "region.h"

enum { HUGE_BUCKETS = 256 };

struct huge {
    struct huge *next;
    char *start, *user; /* of the mapping, of the block */
    size_t length;      /* of the mapping */
};

struct huges {
    struct huge *bucket[HUGE_BUCKETS];
    struct huge *spare; /* records to use again */
    struct huge *idle;  /* a mapping without a block */
    size_t gone;        /* length of the last mapping that went back, */
    uint64_t since;     /* and when; or since when there is an idle one. ms */
    bool repeats;       /* such a length was wanted again soon */
    size_t count, bytes, colored; /* blocks; in their mappings; before the blocks in these */
};

static struct huge **huge_find(struct huges *all, void *p) {
    struct huge **at = &all->bucket[(uintptr_t)p / GRANULE % HUGE_BUCKETS];
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

/* A record; NULL with errno ENOMEM. */
static struct huge *huge_record(struct huges *all) {
    struct huge *block = all->spare;
    if (block)
        all->spare = block->next;
    else
        block = record_cut(&slabs.pools[0], 64);
    return block;
}

static void huge_spare(struct huges *all, struct huge *block) {
    block->next = all->spare;
    all->spare = block;
}

/* The idle mapping, if a block of that length fits well. */
static struct huge *huge_reuse(struct huges *all, size_t length, size_t alignment) {
    struct huge *block = all->idle;
    bool soon = all->gone && now_ms() - all->since < options.decay_ms;
    if (!block && soon && length <= all->gone && length >= all->gone / 4 * 3)
        all->repeats = true;
    if (!block || block->length < length || block->length / 4 * 3 > length ||
        (uintptr_t)block->start % alignment)
        return NULL;
    all->idle = NULL;
    return block;
}

/* Keeps the mapping of a block that was freed. The mapping that has to be given back for it,
 * or instead of it, is the caller's to unmap; NULL if there is none. */
static struct huge *huge_retire(struct huges *all, struct huge *block) {
    struct huge *other = all->repeats ? all->idle : block;
    if (all->repeats)
        all->idle = block;
    all->gone = block->length;
    all->since = now_ms();
    return other;
}

/* The idle mapping, if it has waited long enough. */
static struct huge *huge_aged(struct huges *all, uint64_t now, uint64_t age) {
    struct huge *block = all->idle;
    if (!block || now - all->since < age)
        return NULL;
    all->idle = NULL;
    all->repeats = false;
    return block;
}
