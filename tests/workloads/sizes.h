/*
 * How large the blocks are that programs ask for, and the random numbers to draw them with.
 *
 * Source: the size profiles of ten production services (Beta, Bravo, Charlie, Delta, Echo,
 * Foxtrot, Merced, Sierra, Sigma, Uniform) that Google published with the empirical driver of
 * its tcmalloc (tcmalloc/testing/empirical_distributions.cc, 2022; later in google/fleetbench):
 * allocations per second by the exact number of bytes asked for. Each profile counts a tenth.
 * Zhou et al. show the same shape for a whole fleet ("Characterizing a Memory Allocator at
 * Warehouse Scale", ASPLOS 2024).
 *
 *     four in ten are at most 32 bytes, two thirds at most 64, 96 in a hundred at most 1,024;
 *     four in five are a multiple of 8; 1,024, 4,096, 8,192 and 65,536 stand out
 *
 * What is larger than 128 KiB, one in ten thousand, is left to the workloads about large blocks.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { SIZE_DRAWS = 4096, SIZE_LARGEST = 128 << 10 };

/* Of 4,096 allocations, how many have exactly `size` bytes, and how many lie between the row before
   and it. */
static const struct { uint32_t size, exactly, below; } size_rows[] = {
    {8, 188, 87},     {16, 191, 23},    {24, 238, 137},   {32, 617, 193},   {40, 260, 75},
    {48, 332, 42},    {56, 113, 32},    {64, 221, 33},    {72, 145, 23},    {80, 103, 14},
    {88, 66, 10},     {96, 75, 10},     {104, 34, 9},     {112, 45, 9},     {120, 31, 7},
    {128, 79, 9},     {160, 26, 71},    {192, 14, 54},    {224, 8, 22},     {256, 43, 15},
    {320, 12, 46},    {384, 7, 17},     {448, 5, 19},     {512, 30, 12},    {640, 5, 23},
    {768, 5, 12},     {896, 1, 8},      {1024, 27, 4},    {2048, 4, 40},    {4096, 20, 16},
    {8192, 51, 8},    {16384, 1, 5},    {32768, 1, 1},    {65536, 9, 1},    {131072, 0, 2},
};

/* Every size as often as it is asked for; a draw is a look into this table. */
static uint32_t size_table[SIZE_DRAWS];
static uint32_t size_count;

/* Takes the sizes up to `largest` into the table. Those between two rows are spread evenly, in steps
   of 8 where the rows are far apart. */
static inline void sizes_begin(uint32_t largest)
{
    uint32_t before = 0, rows = sizeof size_rows / sizeof *size_rows;
    size_count = 0;
    for (uint32_t r = 0; r < rows && size_rows[r].size <= largest; r++) {
        uint32_t size = size_rows[r].size, gap = size - before;
        for (uint32_t i = 0; i < size_rows[r].exactly; i++)
            size_table[size_count++] = size;
        for (uint32_t i = 0; i < size_rows[r].below; i++) {
            uint32_t inside = before + 1 + (uint32_t)((uint64_t)(gap - 1) * i / size_rows[r].below);
            size_table[size_count++] = gap > 8 ? (inside + 7) & ~7u : inside;
        }
        before = size;
    }
}

/* A number from 0 to below - 1. xorshift64*: a few instructions, the same on every machine. */
static inline uint32_t draw(uint64_t *seed, uint32_t below)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return (uint32_t)((((*seed * 0x2545f4914f6cdd1d) >> 32) * below) >> 32);
}

static inline uint32_t size_drawn(uint64_t *seed) { return size_table[draw(seed, size_count)]; }
