/*
 * relay [--threads N]: many threads pass blocks on through one queue.
 *
 * Stands for: a pool of workers that hand jobs to each other; actors with a shared mailbox. There
 * are more threads than processors.
 * Shows: remote frees between many heaps, each of which is busy for a moment only. Memory that a
 * malloc keeps for each thread, or for each pair of threads, it keeps 64 times.
 *
 * A turn puts a batch of new blocks into the queue and takes out the oldest batch, reads half of
 * its blocks and frees them, and puts the other half into the queue once more. The queue is a ring
 * behind a lock that a thread holds for one batch. No thread ever waits for the queue to fill,
 * because each puts before it takes. Which thread frees a block depends on timing, the sum does
 * not.
 */
#include "program.h"

enum { BATCH = 64, RING = 256 };

struct batch {
    uint32_t blocks;
    struct block *block[BATCH];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct batch ring[RING];
static uint32_t turns, first, last;

static void put(const struct batch *batch)
{
    pthread_mutex_lock(&lock);
    if (last - first == RING)
        must_have(NULL);
    ring[last++ % RING] = *batch;
    pthread_mutex_unlock(&lock);
}

static struct batch take(void)
{
    struct batch oldest = {0, {NULL}};
    pthread_mutex_lock(&lock);
    if (first != last)
        oldest = ring[first++ % RING];
    pthread_mutex_unlock(&lock);
    return oldest;
}

/* Frees the blocks from `from` on. */
static uint64_t end_from(struct batch *batch, uint32_t from)
{
    uint64_t sum = 0;
    for (uint32_t i = from; i < batch->blocks; i++)
        sum += block_end(batch->block[i]);
    batch->blocks = from < batch->blocks ? from : batch->blocks;
    return sum;
}

static void work(struct worker *worker)
{
    for (uint32_t t = 0; t < turns; t++) {
        struct batch made = {BATCH, {NULL}};
        for (uint32_t i = 0; i < BATCH; i++)
            made.block[i] = block_new(size_drawn(&worker->seed), t + i);
        put(&made);
        struct batch got = take();
        worker->sum += end_from(&got, got.blocks / 2);
        if (got.blocks > 0)
            put(&got);
        got = take();
        worker->sum += end_from(&got, 0);
    }
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 64);
    if (threads == 0 || threads > THREADS)
        return 2;
    turns = scaled(argc, argv, 160000) / threads;
    sizes_begin(1024);
    uint64_t sum = workers_run(threads, work);
    for (struct batch rest = take(); rest.blocks > 0; rest = take())
        sum += end_from(&rest, 0);
    return finish(sum);
}
