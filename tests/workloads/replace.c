/*
 * replace [--live N] [--steps N] [--threads N]: of N live blocks a random one is freed and
 * replaced, again and again.
 *
 * Stands for: a store of objects that changes all the time: an in-memory database, a cache, a
 * scene.
 * Shows: how fast a malloc is when neither its records nor the blocks fit into the processor's
 * caches, and whether it reuses a block of the right size that was just freed nearby. Peak memory
 * shows how well mixed sizes pack. With several threads each has its own part of the blocks.
 */
#include "program.h"

enum { MOST = 1 << 20 };

static uint32_t steps, live;
static struct block *table[MOST];

static void work(struct worker *worker)
{
    struct block **mine = table + worker->index * live;
    for (uint32_t i = 0; i < live; i++)
        mine[i] = block_new(size_drawn(&worker->seed), i);
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t k = draw(&worker->seed, live);
        worker->sum += block_end(mine[k]);
        mine[k] = block_new(size_drawn(&worker->seed), i);
    }
    for (uint32_t i = 0; i < live; i++)
        worker->sum += block_end(mine[i]);
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    uint32_t full = option_number(argc, argv, "--live", 100000);
    if (full > MOST)
        return 2;
    live = scaled(argc, argv, full) / threads;
    steps = scaled(argc, argv, option_number(argc, argv, "--steps", 2000000)) / threads;
    sizes_begin(full > 100000 ? 1024 : SIZE_LARGEST);
    if (live == 0)
        live = 1;
    return finish(workers_run(threads, work));
}
