/*
 * brief: 200 threads allocate once and sleep; then many hundreds of threads, one after the
 * other, allocate 400 blocks of up to 8 KiB, free them and end.
 *
 * Stands for: a thread for each request or job, beside a pool that waits.
 * Shows: whether the next thread can use the memory of an ended one. If a malloc searches only a
 * few of its heaps for an abandoned one, it may find only those of idle threads.
 *
 *     points: idle, later
 */
#include "life.h"

enum { BLOCKS = 400, LARGEST = 8192 };

static pthread_barrier_t barrier;

static void *idle(void *argument)
{
    free(block_new(100));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* never passed */
    return argument;
}

static void *brief(void *argument)
{
    struct block *block[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        block[i] = block_new((size_t)16 + (size_t)i * (LARGEST - 16) / BLOCKS);
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    return argument;
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    unsigned threads = (unsigned)scaled(200, 10);
    pthread_barrier_init(&barrier, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++)
        thread_new(idle, NULL);
    pthread_barrier_wait(&barrier);
    point("idle", 0);
    life_restart();
    for (size_t i = scaled(1500, 10); i > 0; i--)
        pthread_join(thread_new(brief, NULL), NULL);
    point("later", 0);
    life_end();
}
