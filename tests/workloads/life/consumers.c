/*
 * consumers: each of 200 threads frees a MiB and a half of the main thread's blocks and
 * then waits for ever. A second later the main thread allocates the same once more.
 *
 * Stands for: a pool of workers of which most have nothing to do after a peak.
 * Shows: how much memory is held back by threads that freed too few blocks to return them. If a
 * malloc limits the number of blocks for each thread, it does not limit their bytes.
 *
 *     points: full, freed, again
 */
#include "life.h"

enum { EACH = 63, THREADS = 200 };

static const size_t sizes[] = {24000, 1500};
static struct block *held[THREADS][2 * EACH];
static size_t live;
static pthread_barrier_t barrier;

static void fill(size_t threads)
{
    for (size_t t = 0; t < threads; t++)
        for (size_t i = 0; i < 2 * EACH; i++) {
            held[t][i] = block_new(sizes[i % 2]);
            live += held[t][i]->size;
        }
}

static void *consume(void *argument)
{
    struct block **mine = argument;
    for (size_t i = 0; i < 2 * EACH; i++)
        free(mine[i]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* never passed */
    return NULL;
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    size_t threads = scaled(THREADS, 10);
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    fill(threads);
    point("full", live);
    for (size_t t = 0; t < threads; t++)
        thread_new(consume, held[t]);
    pthread_barrier_wait(&barrier);
    rest(1);
    free(malloc(100));
    point("freed", 0);
    live = 0;
    fill(threads);
    point("again", live);
    life_end();
}
