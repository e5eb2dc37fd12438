/* Blocks that another thread frees are used again: one thread only allocates, another one
 * only frees, and memory stays bounded.
 *
 *     structure-handover [rounds] [KiB of a round] [KiB that it may grow to]
 */
#include "program.h"

enum { SIZE = 200, MOST = 100000 };
static void *blocks[MOST];
static size_t count;
static pthread_barrier_t turn;
static long rounds;

static void *free_all(void *arg) {
    for (long round = 0; round < rounds; round++) {
        pthread_barrier_wait(&turn);
        for (size_t i = 0; i < count; i++) {
            check_filled(blocks[i], SIZE, i);
            free(blocks[i]);
        }
        pthread_barrier_wait(&turn);
    }
    return arg;
}

int main(int argc, char **argv) {
    rounds = argument(argc, argv, 1, 200);
    count = (size_t)argument(argc, argv, 2, 2048) * 1024 / SIZE;
    long allowed = argument(argc, argv, 3, 32768);
    check(count <= MOST, "%d blocks at most", MOST);
    pthread_barrier_init(&turn, NULL, 2);
    pthread_t other = start(free_all, NULL);
    long start_kib = resident_kib();
    for (long round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++)
            fill(blocks[i] = must_malloc(SIZE), SIZE, i);
        pthread_barrier_wait(&turn);
        pthread_barrier_wait(&turn);
    }
    join(other);
    long grown = resident_kib() - start_kib;
    check(grown <= allowed, "%ld rounds left %ld KiB", rounds, grown);
    return 0;
}
