/*
 * fragment: small blocks are allocated, most are freed, larger ones are allocated, and so on.
 *
 * Stands for: a program of phases: it loads many small objects, keeps some of them for good, and
 * then works with larger ones. Long-running servers look like this after days.
 * Shows: fragmentation. One block in ten stays, scattered over all memory. A malloc that packs
 * equal sizes into pages cannot use a page for other sizes while a single block is left in it; a
 * malloc that splits and merges finds holes, but few that are large enough. Peak memory shows it.
 *
 * Each phase allocates MIB of blocks between `size` and twice that, frees nine in ten at random,
 * and doubles the size. The remaining blocks of all phases are freed at the end.
 */
#include "program.h"

enum { MIB = 32, SMALLEST = 32, LARGEST = 4096, MOST = (MIB << 20) / SMALLEST, KEPT = MOST / 4 };

static struct block *phase[MOST], *kept[KEPT];
static uint32_t phase_blocks, kept_blocks;

static void phase_allocate(uint64_t *seed, uint32_t size, size_t bytes)
{
    phase_blocks = 0;
    for (size_t taken = 0; taken < bytes && phase_blocks < MOST; phase_blocks++) {
        uint32_t drawn = size + draw(seed, size);
        phase[phase_blocks] = block_new(drawn, phase_blocks);
        taken += drawn;
    }
}

/* In random order, like the objects of a graph. */
static uint64_t phase_free(uint64_t *seed)
{
    uint64_t sum = 0;
    for (uint32_t left = phase_blocks; left > 0; left--) {
        uint32_t k = draw(seed, left);
        if (draw(seed, 10) == 0 && kept_blocks < KEPT)
            kept[kept_blocks++] = phase[k];
        else
            sum += block_end(phase[k]);
        phase[k] = phase[left - 1];
    }
    return sum;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, sum = 0;
    size_t bytes = (size_t)scaled(argc, argv, MIB << 10) << 10;
    for (uint32_t size = SMALLEST; size <= LARGEST; size *= 2) {
        phase_allocate(&seed, size, bytes);
        sum += phase_free(&seed);
    }
    while (kept_blocks > 0)
        sum += block_end(kept[--kept_blocks]);
    return finish(sum);
}
