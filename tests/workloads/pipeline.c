/*
 * pipeline [--ways 1|2]: one thread allocates, another frees.
 *
 * Stands for: stages of a pipeline: a reader that parses messages, a worker that consumes them;
 * actors that send each other messages.
 * Shows: the price of a remote free, and of returning memory to its owner. If a malloc gives freed
 * blocks to the thread that frees, that thread's cache overflows while the other's is empty; if
 * both use one lock, they wait for each other.
 * --ways: with 1, one thread only produces and the other only consumes; with 2 each does both.
 *
 * Messages travel in batches through rings whose ends sleep when there is nothing to do, so that
 * waiting costs no CPU time.
 */
#include <semaphore.h>
#include "program.h"

enum { BATCH = 512, RING = 16, LEAD = 8 };

static struct ring {
    sem_t full, empty;
    struct block *slot[RING][BATCH];
} rings[2];

static uint32_t batches, ways;

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        ;
}

static void put(struct ring *ring, uint32_t turn, uint64_t *seed)
{
    wait_for(&ring->empty);
    for (uint32_t i = 0; i < BATCH; i++)
        ring->slot[turn % RING][i] = block_new(size_drawn(seed), turn + i);
    sem_post(&ring->full);
}

static uint64_t take(struct ring *ring, uint32_t turn)
{
    uint64_t sum = 0;
    wait_for(&ring->full);
    for (uint32_t i = 0; i < BATCH; i++)
        sum += block_end(ring->slot[turn % RING][i]);
    sem_post(&ring->empty);
    return sum;
}

/* Each thread fills a ring of its own and empties the other's. If each does both, it first produces
   a few batches, so that it does not wait for the other one at every turn. */
static void work(struct worker *worker)
{
    uint32_t lead = ways == 2 ? LEAD : 0;
    int produces = ways == 2 || worker->index == 0, consumes = ways == 2 || worker->index == 1;
    for (uint32_t turn = 0; turn < batches + lead; turn++) {
        if (produces && turn < batches)
            put(&rings[worker->index], turn, &worker->seed);
        if (consumes && turn >= lead)
            worker->sum += take(&rings[1 - worker->index], turn - lead);
    }
}

int main(int argc, char **argv)
{
    ways = option_number(argc, argv, "--ways", 1);
    batches = scaled(argc, argv, 24000) / ways;
    sizes_begin(1024);
    for (int r = 0; r < 2; r++) {
        sem_init(&rings[r].full, 0, 0);
        sem_init(&rings[r].empty, 0, RING);
    }
    return finish(workers_run(2, work));
}
