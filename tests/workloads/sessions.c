/*
 * sessions [--threads N]: the blocks live on, the threads that made them do not.
 *
 * Stands for: a server that gives each connection, or each task, to a thread of its own. What a
 * thread allocated (sessions, cache entries) is freed and replaced by threads that come after it
 * has died.
 * Shows: what it costs to be born, to die, and to free the blocks of the dead; and whether the
 * memory of dead threads is used again: where it is not, memory grows with every generation.
 *
 * Each generation of N threads takes over the N tables of the one before, every thread
 * another's, and replaces random blocks in it for a while.
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
