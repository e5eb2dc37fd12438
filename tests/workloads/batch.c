/*
 * batch --order lifo|fifo|random [--blocks N] [--threads N]: N blocks are allocated, then all
 * are freed.
 *
 * Stands for: a task that builds something, uses it and drops it: a parsed document, a query's
 * rows, a compiler's function.
 * Shows: how the price of a pair depends on the order of frees. Last block first suits stacks of
 * free blocks; first block first reverses them; a random order leaves free lists that jump
 * through memory. Large batches overflow caches of fixed capacity.
 */
#include "program.h"

enum { MOST = 1 << 17 };

static uint32_t rounds, blocks;
static int shuffled;
/* The order of frees, twice in a row, so that a round may begin anywhere. */
static uint32_t order[2 * MOST];
static struct block *table[THREADS][MOST];

static void work(struct worker *worker)
{
    struct block **mine = table[worker->index];
    for (uint32_t r = 0; r < rounds; r++) {
        for (uint32_t i = 0; i < blocks; i++)
            mine[i] = block_new(size_drawn(&worker->seed), i);
        const uint32_t *turn = order + (shuffled ? draw(&worker->seed, blocks) : 0);
        for (uint32_t i = 0; i < blocks; i++)
            worker->sum += block_end(mine[turn[i]]);
    }
}

static void order_begin(const char *name)
{
    uint64_t seed = 1;
    shuffled = strcmp(name, "random") == 0;
    for (uint32_t i = 0; i < blocks; i++)
        order[i] = strcmp(name, "lifo") == 0 ? blocks - 1 - i : i;
    for (uint32_t i = blocks - 1; shuffled && i > 0; i--) {
        uint32_t k = draw(&seed, i + 1), other = order[k];
        order[k] = order[i];
        order[i] = other;
    }
    memcpy(order + blocks, order, blocks * sizeof *order);
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    blocks = option_number(argc, argv, "--blocks", 1000);
    uint32_t pairs = scaled(argc, argv, 24000000) / threads;
    if (blocks > pairs)
        blocks = pairs;
    if (blocks == 0 || blocks > MOST || threads > THREADS)
        return 2;
    rounds = pairs / blocks;
    order_begin(option(argc, argv, "--order", "random"));
    sizes_begin(1024);
    return finish(workers_run(threads, work));
}
