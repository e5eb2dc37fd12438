/*
 * mixed: with 100 MB of blocks live, single calls: a random slot is emptied if it holds a block,
 * else filled.
 *
 * Stands for: a service that must answer within a bound, in its normal state.
 * Shows: the calls that are slower than the rest: refills, splits and merges, locks, fresh pages.
 */
#include "latency.h"

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    uint64_t seed = 3;
    uint32_t slots = (uint32_t)scaled(800000, 100);
    void **slot = table_new(slots, sizeof *slot);
    sizes_begin(SIZE_LARGEST);
    for (uint32_t i = 0; i < slots; i += 2)
        slot[i] = block_new(size_drawn(&seed));
    latency_begin();
    for (size_t calls = scaled(4000000, 1000); calls > 0; calls--) {
        void **place = &slot[draw(&seed, slots)];
        if (*place) {
            timed_free(*place);
            *place = NULL;
        } else {
            *place = timed_malloc(size_drawn(&seed));
        }
    }
    latency_end();
    life_end();
}
