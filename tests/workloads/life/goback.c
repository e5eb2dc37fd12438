/*
 * goback: 400 MiB in blocks of 64 KiB to 1 MiB are freed, with small blocks between them that stay;
 * during the next seconds the process makes small and large calls, a few in each fifth of a
 * millisecond.
 *
 * Stands for: the moments after a peak, while the malloc gives memory back to the kernel.
 * Shows: which calls pay for it. If one call purges everything, its thread waits as long as the
 * kernel needs, and so do other threads if it holds a lock.
 */
#include "latency.h"

enum { SLOTS = 32, CALLS = 20 };

static size_t large_drawn(uint64_t *seed)
{
    size_t low = (size_t)64 << (10 + draw(seed, 4));
    return low + draw(seed, (uint32_t)low);
}

static void turn(uint64_t *seed)
{
    static void *slot[SLOTS];
    away_since(); /* so that the nap does not count for a call */
    for (int i = 0; i < CALLS; i++) {
        void **place = &slot[draw(seed, SLOTS)];
        if (*place) {
            timed_free(*place);
            *place = NULL;
        } else {
            *place = timed_malloc(draw(seed, 4) ? size_drawn(seed) : large_drawn(seed) / 4);
        }
    }
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    uint64_t seed = 9;
    sizes_begin(1024);
    size_t bytes = scaled(400ul * MIB, 4 * MIB), blocks = 0, most = bytes / (64 << 10) + 1;
    struct block **large = table_new(most, sizeof *large);
    for (size_t live = 0; live < bytes && blocks < most; blocks++) {
        large[blocks] = block_new(large_drawn(&seed));
        live += large[blocks]->size;
        block_new(size_drawn(&seed));
    }
    while (blocks > 0)
        free(large[--blocks]);
    latency_begin();
    for (double end = seconds_now() + 2 * life.pace; seconds_now() < end; nap(0.0002))
        turn(&seed);
    latency_end();
    life_end();
}
