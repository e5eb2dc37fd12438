/*
 * servers [--live N] [--threads N]: threads replace random blocks of one table that all share.
 *
 * Stands for: a server whose worker threads all work on one store: whichever thread serves a
 * request frees what some other thread allocated, and puts a block of its own in its place.
 * Shows: remote frees without a pattern. The blocks that a thread frees belong to all other
 * threads in turn, so neither a batch for one owner nor the order of a queue helps.
 *
 * A thread replaces a slot's block by one atomic exchange. Which thread frees which block depends
 * on timing, but each block is freed once, and the checksum is a sum over all blocks.
 */
#include "program.h"

enum { MOST = 1 << 17 };

static uint32_t steps, live;
static struct block *table[MOST];

static uint64_t slot_set(uint32_t k, struct block *block)
{
    struct block *old = __atomic_exchange_n(&table[k], block, __ATOMIC_ACQ_REL);
    return old ? block_end(old) : 0;
}

static void work(struct worker *worker)
{
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t k = draw(&worker->seed, live);
        worker->sum += slot_set(k, block_new(size_drawn(&worker->seed), i));
    }
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 4);
    live = option_number(argc, argv, "--live", 20000);
    if (threads == 0 || threads > THREADS || live == 0 || live > MOST)
        return 2;
    steps = scaled(argc, argv, 4000000) / threads;
    sizes_begin(SIZE_LARGEST);
    uint64_t sum = workers_run(threads, work);
    for (uint32_t k = 0; k < live; k++)
        sum += slot_set(k, NULL);
    return finish(sum);
}
