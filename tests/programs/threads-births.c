/* Thousands of threads start and end, each leaves blocks behind, and the next ones free
 * them. No memory is lost when a thread ends: memory stays bounded.
 *
 *     threads-births [rounds] [threads of a round] [KiB that may stay resident; 0: any]
 */
#include "program.h"

enum { LEFT = 16, SIZE = 3000 };
static void *left[64][LEFT]; /* what the thread of the last round left here */

static void *live_and_die(void *arg) {
    size_t me = (size_t)arg;
    for (int i = 0; i < LEFT; i++) {
        if (left[me][i])
            check_filled(left[me][i], SIZE, me);
        free(left[me][i]);
        left[me][i] = must_malloc(SIZE);
        fill(left[me][i], SIZE, me);
    }
    return NULL;
}

int main(int argc, char **argv) {
    long rounds = argument(argc, argv, 1, 300), threads = argument(argc, argv, 2, 8);
    long allowed = argument(argc, argv, 3, 0);
    check(threads <= 64, "64 threads at most");
    long start_kib = resident_kib();
    for (long round = 0; round < rounds; round++) {
        pthread_t ids[64];
        for (long i = 0; i < threads; i++)
            ids[i] = start(live_and_die, (void *)i);
        for (long i = 0; i < threads; i++)
            join(ids[i]);
    }
    long grown = resident_kib() - start_kib;
    check(!allowed || grown <= allowed, "%ld threads left %ld KiB behind", rounds * threads, grown);
    return 0;
}
