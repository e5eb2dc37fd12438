/*
 * lifetimes [--threads N]: requests of short-lived blocks, of which a few stay for long.
 *
 * Stands for: a server. A request allocates some dozens of blocks and frees them when it is
 * answered; now and then a block goes into a cache, where it replaces an old one, which may lie
 * anywhere.
 * Shows: whether short-lived blocks reuse memory that is in the processor's caches, or are spread
 * over the holes that old blocks leave, and how well memory is packed if lifetimes are mixed.
 */
#include "program.h"

enum { REQUEST = 60, CACHE = 50000, ONE_IN = 50 };

static uint32_t requests, cache_blocks;
static struct block *cache[THREADS][CACHE];

static void request(struct worker *worker, uint32_t number)
{
    struct block *block[REQUEST];
    for (uint32_t i = 0; i < REQUEST; i++)
        block[i] = block_new(size_drawn(&worker->seed), number + i);
    for (uint32_t i = 0; i < REQUEST; i++) {
        if (draw(&worker->seed, ONE_IN) == 0) {
            struct block **place = &cache[worker->index][draw(&worker->seed, cache_blocks)];
            struct block *old = *place;
            *place = block[i];
            block[i] = old;
        }
        if (block[i] != NULL)
            worker->sum += block_end(block[i]);
    }
}

static void work(struct worker *worker)
{
    for (uint32_t i = 0; i < requests; i++)
        request(worker, i);
    for (uint32_t i = 0; i < cache_blocks; i++)
        if (cache[worker->index][i] != NULL)
            worker->sum += block_end(cache[worker->index][i]);
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    requests = scaled(argc, argv, 240000) / threads;
    cache_blocks = scaled(argc, argv, CACHE / threads);
    sizes_begin(SIZE_LARGEST);
    return finish(workers_run(threads, work));
}
