/*
 * sharing --kind active|passive [--threads N]: threads write to small blocks, each to its own.
 *
 * Stands for: counters, flags and small objects that every thread has a few of and writes all
 * the time.
 * Shows: false sharing. If the blocks of two threads lie in one cache line, every write takes the
 * line away from the other processor, and the program becomes several times slower.
 * --kind active: threads allocate at the same time, and the malloc may hand out blocks of one line
 * to several of them.
 * --kind passive: the main thread passes neighbouring blocks to different threads; each frees the
 * blocks that it was given and allocates its own. If a thread gets one of the freed blocks, it
 * shares a line with the other thread again.
 */
#include "program.h"

enum { BLOCKS = 16, SIZE = 16, WRITES = 500000 };

static uint32_t rounds, threads;
static int passive;
static struct block *given[THREADS][BLOCKS];
static pthread_barrier_t barrier;

static uint64_t write_often(struct block **mine)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < WRITES; i++)
        (*(volatile uint32_t *)&mine[i % BLOCKS]->key)++;
    for (uint32_t b = 0; b < BLOCKS; b++)
        sum += block_end(mine[b]);
    return sum;
}

static void give(void)
{
    for (uint32_t i = 0; i < BLOCKS * threads; i++)
        given[i % threads][i / threads] = block_new(SIZE, i);
}

static void work(struct worker *worker)
{
    struct block *mine[BLOCKS];
    for (uint32_t r = 0; r < rounds; r++) {
        if (passive && worker->index == 0)
            give();
        pthread_barrier_wait(&barrier);
        for (uint32_t b = 0; passive && b < BLOCKS; b++)
            worker->sum += block_end(given[worker->index][b]);
        for (uint32_t b = 0; b < BLOCKS; b++)
            mine[b] = block_new(SIZE, r + b);
        worker->sum += write_often(mine);
        pthread_barrier_wait(&barrier);
    }
}

int main(int argc, char **argv)
{
    threads = option_number(argc, argv, "--threads", 2);
    passive = strcmp(option(argc, argv, "--kind", "active"), "passive") == 0;
    rounds = scaled(argc, argv, 1000) / threads;
    pthread_barrier_init(&barrier, NULL, threads);
    return finish(workers_run(threads, work));
}
