/*
 * crowd: 64 threads pass blocks on through one queue; then they stop and are joined, and the last
 * blocks are freed by the main thread.
 *
 * Stands for: a pool of workers that hand jobs to each other, and is shut down.
 * Shows: how much memory a malloc keeps for each thread while it runs, and how much of that
 * remains when the threads have ended.
 *
 *     points: passing (all threads pause), joined (a second after)
 */
#include "life.h"

enum { THREADS = 64, RING = 1 << 16, HALF = RING / 2 };

static struct block *ring[RING];
static size_t first, last, live, turns;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;

/* Puts a block into the queue and takes the oldest one out once the queue is half full. */
static struct block *pass(struct block *block)
{
    struct block *oldest = NULL;
    pthread_mutex_lock(&lock);
    live += block->size;
    ring[last++ % RING] = block;
    if (last - first > HALF) {
        oldest = ring[first++ % RING];
        live -= oldest->size;
    }
    pthread_mutex_unlock(&lock);
    return oldest;
}

static void *work(void *argument)
{
    uint64_t seed = ((uintptr_t)argument + 1) * 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < turns; i++)
        free(pass(block_new(size_drawn(&seed))));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    pthread_t thread[THREADS];
    turns = scaled(3000000, 100 * THREADS) / THREADS;
    sizes_begin(8192);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (size_t t = 0; t < THREADS; t++)
        thread[t] = thread_new(work, (void *)t);
    pthread_barrier_wait(&barrier);
    point("passing", live);
    pthread_barrier_wait(&barrier);
    for (size_t t = 0; t < THREADS; t++)
        pthread_join(thread[t], NULL);
    while (first < last)
        free(ring[first++ % RING]);
    rest(1);
    free(malloc(100));
    point("joined", 0);
    life_end();
}
