/*
 * One thread allocates blocks, and another one frees them. Only the frees are measured.
 *
 * The first thread fills --blocks slots and then sleeps; the main thread frees them, in order of
 * allocation or, with --order 1, in an order drawn beforehand. One section. --size is the block's
 * (default 32 bytes).
 */
#include "workload.h"
#include <pthread.h>

static size_t blocks, size;
static char **slot;
static pthread_barrier_t made, end;

static void *make(void *arg) {
    for (size_t i = 0; i < blocks; i++) {
        slot[i] = malloc(size);
        if (slot[i] != NULL)
            *slot[i] = 1;
    }
    pthread_barrier_wait(&made);
    pthread_barrier_wait(&end);
    return arg;
}

/* Fisher-Yates. */
static void shuffle(void) {
    for (size_t i = blocks; i > 1; i--) {
        size_t k = draw((uint32_t)i);
        char *other = slot[k];
        slot[k] = slot[i - 1];
        slot[i - 1] = other;
    }
}

int main(int argc, char **argv) {
    pthread_t maker;
    blocks = (size_t)option(argc, argv, "--blocks", 10000);
    size = (size_t)option(argc, argv, "--size", 32);
    workload_begin(argc, argv);
    slot = table_new(blocks, sizeof *slot);
    pthread_barrier_init(&made, NULL, 2);
    pthread_barrier_init(&end, NULL, 2);
    free(malloc(size)); /* gives the main thread a heap of its own */
    if (pthread_create(&maker, NULL, make, NULL) != 0)
        workload_end("no thread");
    pthread_barrier_wait(&made);
    if (option(argc, argv, "--order", 0) != 0)
        shuffle();

    section_begin();
    for (size_t i = 0; i < blocks; i++)
        free(slot[i]);
    section_end(blocks);
    pthread_barrier_wait(&end);
    pthread_join(maker, NULL);
    workload_end(NULL);
}
