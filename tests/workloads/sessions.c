/*
 * sessions [--threads N]: blocks outlive the threads that allocated them.
 *
 * Stands for: a server that gives each connection, or each task, to a thread of its own. What a
 * thread allocated (sessions, cache entries) is freed and replaced by threads that come after it
 * has died.
 * Shows: what a thread's start and end cost, and the free of a block whose thread has ended; and
 * whether the memory of ended threads is used again. If not, it grows with every generation.
 *
 * Each generation of N threads takes over the N tables of the generation before, each thread the
 * table of another one, and replaces random blocks in it for a while.
 */
#include "program.h"

enum { SESSIONS = 4000, REQUESTS = 2000 };

static uint32_t generation, threads;
static struct block *table[THREADS][SESSIONS];

static void work(struct worker *worker)
{
    struct block **mine = table[(worker->index + generation) % threads];
    worker->seed += generation;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint32_t k = draw(&worker->seed, SESSIONS);
        if (mine[k] != NULL)
            worker->sum += block_end(mine[k]);
        mine[k] = block_new(size_drawn(&worker->seed), i);
    }
}

int main(int argc, char **argv)
{
    static struct worker workers[THREADS];
    uint64_t sum = 0;
    threads = option_number(argc, argv, "--threads", 1);
    if (threads == 0 || threads > THREADS)
        return 2;
    uint32_t generations = scaled(argc, argv, 4000) / threads;
    sizes_begin(SIZE_LARGEST);
    for (generation = 0; generation < generations; generation++) {
        for (uint32_t i = 0; i < threads; i++)
            worker_start(&workers[i], i, work);
        for (uint32_t i = 0; i < threads; i++)
            sum += worker_end(&workers[i]);
    }
    for (uint32_t i = 0; i < threads * SESSIONS; i++)
        if (table[i / SESSIONS][i % SESSIONS] != NULL)
            sum += block_end(table[i / SESSIONS][i % SESSIONS]);
    return finish(sum);
}
