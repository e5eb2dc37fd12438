/* blocks.h: which blocks were sampled.
 *
 * free checks for every block whether it was sampled, in three steps, each of which few blocks pass:
 *
 *     marks   a byte for 16 of the address's bits, so that six instructions ask: 4 KiB, which stay in the cache
 *     bits    for 19 of them: with a thousand sampled blocks live, one other in 4 passes marks, and one in 33 this
 *     slots   the blocks themselves, a hash table
 *
 * Marks and bits are backed by one counter for each bit, which only sampled blocks touch.
 *
 * A tool that includes this file has defined `struct block`, whose `address` is 0 in an empty slot, and sets
 * `blocks.memory` before the first block: zeroed memory, or NULL.
 *
 * Rule: everything but marks and bits is touched under the tool's lock only.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { MARKS = 1 << 12, BIT_LOG = 15, BITS = 1 << BIT_LOG, BLOCKS_FIRST = 1 << 12 };

/* Open addressing, linear probing, at most half full; a deletion moves back what follows. */
static struct {
    struct block *slots;
    size_t size, used;
    _Atomic(uint64_t) bits[BITS / 64];
    uint16_t counts[BITS];
    void *(*memory)(size_t);
} blocks = {.bits = {1}}; /* free(NULL) may be the first call: see bit_unmark_null */

/* 1 where one of the bits that end alike is. Apart, so that its address is no sum. */
static _Alignas(64) _Atomic(uint8_t) marks[MARKS] = {1};

static inline unsigned bit_of(const void *p) {
    return (unsigned)((uintptr_t)p >> 4) % BITS;
}

/* May the block be one of ours, or an early one? 1 ns. */
static inline bool blocks_may_hold(const void *p) {
    return atomic_load_explicit(&marks[((uintptr_t)p & 0xffff) >> 4], memory_order_relaxed);
}

/* The same for a block that has a mark, and more precisely. */
static bool blocks_likely_hold(const void *p) {
    unsigned bit = bit_of(p);
    return atomic_load_explicit(&blocks.bits[bit / 64], memory_order_relaxed) >> bit % 64 & 1;
}

static void bit_set(unsigned bit) {
    if (blocks.counts[bit] < UINT16_MAX)
        blocks.counts[bit]++;
    atomic_fetch_or(&blocks.bits[bit / 64], (uint64_t)1 << bit % 64);
    atomic_store_explicit(&marks[bit % MARKS], 1, memory_order_relaxed);
}

/* Takes the bit away where no block needs it, and the mark where no bit does. */
static void bit_drop(unsigned bit) {
    if (blocks.counts[bit])
        return;
    atomic_fetch_and(&blocks.bits[bit / 64], ~((uint64_t)1 << bit % 64));
    bool mark = false;
    for (unsigned i = bit % MARKS; i < BITS; i += MARKS)
        mark = mark || blocks.counts[i] > 0;
    atomic_store_explicit(&marks[bit % MARKS], mark, memory_order_relaxed);
}

/* A counter that is full stays so: its bit is set for ever, which is slow and not wrong. */
static void bit_clear(unsigned bit) {
    if (blocks.counts[bit] < UINT16_MAX) {
        blocks.counts[bit]--;
        bit_drop(bit);
    }
}

/* Called once the tool has begun: until then, free(NULL) has to take the slow path, which begins it. */
static void bit_unmark_null(void) {
    bit_drop(0);
}

static size_t slot_first(uintptr_t address) {
    return (size_t)((address >> 4) * 0x9e3779b97f4a7c15u >> 20) & (blocks.size - 1);
}

static struct block *slot_find(uintptr_t address) {
    size_t i = slot_first(address);
    while (blocks.slots[i].address && blocks.slots[i].address != address)
        i = (i + 1) & (blocks.size - 1);
    return &blocks.slots[i];
}

static bool blocks_grow(void) {
    size_t size = blocks.size ? 2 * blocks.size : BLOCKS_FIRST, old = blocks.size;
    struct block *slots = blocks.memory(size * sizeof *slots), *from = blocks.slots;
    if (!slots)
        return false;
    blocks.slots = slots;
    blocks.size = size;
    for (size_t i = 0; i < old; i++)
        if (from[i].address)
            *slot_find(from[i].address) = from[i];
    if (old)
        munmap(from, old * sizeof *from);
    return true;
}

/* If a block is there already, its free went unnoticed. */
static struct block *blocks_find(const void *p) {
    struct block *b = blocks.size ? slot_find((uintptr_t)p) : NULL;
    return b && b->address ? b : NULL;
}

/* False without memory for it. */
static bool blocks_add(struct block b) {
    if (2 * (blocks.used + 1) > blocks.size && !blocks_grow())
        return false;
    *slot_find(b.address) = b;
    blocks.used++;
    bit_set(bit_of((void *)b.address));
    return true;
}

static struct block blocks_take(struct block *at) {
    struct block taken = *at;
    size_t mask = blocks.size - 1, hole = (size_t)(at - blocks.slots);
    for (size_t i = (hole + 1) & mask; blocks.slots[i].address; i = (i + 1) & mask) {
        size_t first = slot_first(blocks.slots[i].address);
        if (((i - first) & mask) < ((i - hole) & mask))
            continue;
        blocks.slots[hole] = blocks.slots[i];
        hole = i;
    }
    blocks.slots[hole] = (struct block){0};
    blocks.used--;
    bit_clear(bit_of((void *)taken.address));
    return taken;
}

/* In a forked child: its parent's blocks are its parent's. */
static inline void blocks_forget(void) {
    blocks.slots = NULL; /* our parent writes there */
    blocks.size = blocks.used = 0;
    memset(blocks.counts, 0, sizeof blocks.counts);
    for (size_t i = 0; i < BITS / 64; i++)
        atomic_store(&blocks.bits[i], 0);
    for (size_t i = 0; i < MARKS; i++)
        atomic_store_explicit(&marks[i], 0, memory_order_relaxed);
}
