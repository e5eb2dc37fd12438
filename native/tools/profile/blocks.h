/* blocks.h: which blocks were sampled.
 *
 * free checks for every block whether it was sampled, in three steps, each of which few blocks pass:
 *
 *     others  a mask: a sampled block's address has none of its bits. The profiler sees to it that this holds for all
 *             lower bits of addresses, so that one block in 256 passes, and two instructions ask
 *     bits    for 15 bits of the address's hash: with a thousand sampled blocks live, one other in 33 passes
 *     slots   the blocks themselves, a hash table
 *
 * Others and bits are backed by a counter for each bit, which only sampled blocks touch.
 *
 * A tool that includes this file has defined `struct block`, whose `address` is 0 in an empty slot, and sets
 * `blocks.memory` before the first block: zeroed memory, or NULL.
 *
 * Rule: everything but others and bits is touched under the tool's lock only.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "../../base/platform.h"

enum { BIT_LOG = 15, BITS = 1 << BIT_LOG, BLOCKS_FIRST = 1 << 12, APART_LOG = 12, APART = 1 << APART_LOG };

/* Open addressing, linear probing, at most half full; a deletion moves back what follows. */
static struct {
    struct block *slots;
    size_t size, used;
    _Atomic(uint64_t) bits[BITS / 64];
    uint16_t counts[BITS];
    uint32_t with[APART_LOG]; /* blocks whose addresses have this bit */
    bool apart;               /* most sampled blocks begin at multiples of APART */
    void *(*memory)(size_t);
} blocks;

/* 0 until the tool begins: all blocks pass. Not _Atomic, so that it can be tested in memory: a word is read and
 * written whole anyway. */
static uintptr_t others;

static inline bool blocks_may_hold(const void *p) {
    return bits_are_apart(&others, (uintptr_t)p);
}

static void others_set(void) {
    uintptr_t unused = 0;
    for (unsigned bit = 0; blocks.apart && bit < APART_LOG; bit++)
        unused |= (uintptr_t)!blocks.with[bit] << bit;
    others = unused;
}

static void others_count(uintptr_t address, int more) {
    if (!blocks.apart || address % APART == 0)
        return;
    for (unsigned bit = 0; bit < APART_LOG; bit++)
        if (address >> bit & 1)
            blocks.with[bit] += (uint32_t)more;
    others_set();
}

static inline unsigned bit_of(const void *p) {
    return (uint32_t)(uintptr_t)p * 0x9e3779b1u >> (32 - BIT_LOG);
}

/* The same as blocks_may_hold, more precisely. */
static inline bool blocks_likely_hold(const void *p) {
    unsigned bit = bit_of(p);
    return atomic_load_explicit(&blocks.bits[bit / 64], memory_order_relaxed) >> bit % 64 & 1;
}

static void bit_set(unsigned bit) {
    if (blocks.counts[bit] < UINT16_MAX)
        blocks.counts[bit]++;
    atomic_fetch_or(&blocks.bits[bit / 64], (uint64_t)1 << bit % 64);
}

static inline void bit_set_for_ever(unsigned bit) {
    blocks.counts[bit] = UINT16_MAX;
    bit_set(bit);
}

/* A counter that is full stays so: its bit is set for ever, which is slow and not wrong. */
static void bit_clear(unsigned bit) {
    if (blocks.counts[bit] < UINT16_MAX && --blocks.counts[bit] == 0)
        atomic_fetch_and(&blocks.bits[bit / 64], ~((uint64_t)1 << bit % 64));
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
    others_count(b.address, 1);
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
    others_count(taken.address, -1);
    return taken;
}

/* In a forked child: its parent's blocks are its parent's. */
static inline void blocks_forget(void) {
    blocks.slots = NULL; /* our parent writes there */
    blocks.size = blocks.used = 0;
    memset(blocks.counts, 0, sizeof blocks.counts);
    for (size_t i = 0; i < BITS / 64; i++)
        atomic_store(&blocks.bits[i], 0);
    memset(blocks.with, 0, sizeof blocks.with);
    others_set();
}
