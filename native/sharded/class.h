/* class.h: which sizes there are.
 *
 * 16, 32, … 128, then eight classes to each doubling up to 32 KiB. All are multiples of 16.
 * Rounding wastes less than 16 bytes of a block, or less than an eighth of it.
 */
#pragma once

#include "../heap.h"

enum {
    STEPS = 8,         /* classes from one power of two to the next */
    SMALL = 32 * 1024, /* larger blocks are runs of granules */
    CLASSES = 8 + STEPS * 8,
    NARROW = 8 * 1024, /* larger blocks lie in pages of 1 << WIDE granules, whose stack */
    WIDE = 2,          /* holds offsets in units of 1 << WIDE bytes */
    DIRECT = 1024,     /* up to here malloc finds the page by size / 16 */
};

static inline unsigned class_index_long(size_t size) { /* of more than 128 bytes */
    unsigned log = 63 - (unsigned)__builtin_clzl(size - 1);
    return 8 + (log - 7) * STEPS + (unsigned)((size - 1) >> (log - 3)) % STEPS;
}

static inline unsigned class_index(size_t size) {
    return size > 128 ? class_index_long(size) : size ? (unsigned)(size - 1) / 16 : 0;
}

static inline size_t class_size(unsigned index) {
    if (index < 8)
        return 16 * (index + 1);
    size_t base = 128ul << (index - 8) / STEPS;
    return base + base / STEPS * ((index - 8) % STEPS + 1);
}

/* Granules of a page: at least eight blocks fit. */
static inline uint32_t class_granules(size_t size) {
    return size <= NARROW ? 1 : 1 << WIDE;
}
