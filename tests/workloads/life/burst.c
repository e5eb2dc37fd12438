/*
 * burst [--steady 0|1]: 256 MiB of small blocks are allocated and freed; then the process goes on
 * with a little small traffic (1), or sleeps (0).
 *
 * Stands for: a service after a peak of requests, a program that has just loaded its data.
 * Shows: whether memory goes back although nothing large is freed again, and nothing calls malloc_trim.
 *
 *     points: full, freed, later
 */
#include "life.h"

enum { SLOTS = 64, CALLS = 300 };

/* Some 300 replacements in each millisecond that the process is awake. */
static void traffic(double seconds)
{
    static struct block *slot[SLOTS];
    uint64_t seed = 7;
    for (double end = seconds_now() + seconds; seconds_now() < end; nap(0.001)) {
        for (int i = 0; i < CALLS; i++) {
            struct block **place = &slot[draw(&seed, SLOTS)];
            free(*place);
            *place = block_new(16 + draw(&seed, 500));
        }
    }
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    size_t bytes = scaled(256ul * MIB, MIB);
    struct heap heap = heap_new(bytes, 1);
    sizes_begin(4096);
    heap_fill(&heap, bytes);
    point("full", heap.live);
    heap_shuffle(&heap);
    heap_drop(&heap, 0);
    point("freed", 0);
    if (life_option(argc, argv, "--steady", 0) != 0)
        traffic(5 * life.pace);
    else
        rest(5);
    point("later", 0);
    life_end();
}
