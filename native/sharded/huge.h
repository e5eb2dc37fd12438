/* huge.h: blocks of more than LARGE bytes, each with a mapping of its own.
 *
 * They are few and their price is that of their pages, so a list in a hash table
 * will do to find them. They grow by mremap: page tables move, bytes do not.
 *
 * Locking: the caller holds the region's lock.
 */
#pragma once

#include "region.h"

enum { HUGE_BUCKETS = 256 };

struct huge {
    struct huge *next;
    char *start;
    size_t length;
};

struct huges {
    struct huge *bucket[HUGE_BUCKETS];
    struct huge *spare; /* records to use again */
};

static struct huge **huge_find(struct huges *all, void *p) {
    struct huge **at = &all->bucket[(uintptr_t)p / GRANULE % HUGE_BUCKETS];
    while (*at && (*at)->start != p)
        at = &(*at)->next;
    return at;
}

static void huge_link(struct huges *all, struct huge *block) {
    struct huge **at = huge_find(all, block->start);
    block->next = *at;
    *at = block;
}

/* The record that was linked here is to be linked elsewhere, or spare. */
static struct huge *huge_unlink(struct huge **at) {
    struct huge *block = *at;
    *at = block->next;
    return block;
}

/* Moves a fresh mapping to where its record is its own; NULL with errno ENOMEM if that is
 * nowhere near. */
static char *huge_settle(struct region *r, char *start, size_t length, size_t alignment) {
    size_t step = round_up(table_coverage() / 16, alignment);
    if (region_spares(r, start))
        return start;
    os_unmap(start, length);
    for (int i = 1; i <= 32; i++) {
        char *below = start - (size_t)i * step;
        if (region_spares(r, below) && os_reserve_at(below, length)) {
            if (os_commit(below, length))
                return below;
            os_unmap(below, length);
        }
    }
    return os_refuse();
}

/* Where the block is after it got `length` bytes; NULL if the kernel refuses. */
static char *huge_remap(struct region *r, struct huge *block, size_t length) {
    if (os_resize(block->start, block->length, length)) {
        block->length = length;
        os_make_huge(block->start, length);
        return block->start;
    }
    char *to = os_map_aligned(length, HUGE_PAGE);
    if (!to || !(to = huge_settle(r, to, length, HUGE_PAGE)))
        return NULL;
    if (!os_move(block->start, block->length, to, length)) {
        os_unmap(to, length);
        return NULL;
    }
    os_make_huge(to, length);
    block->start = to;
    block->length = length;
    return to;
}
