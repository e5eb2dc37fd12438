/* A thousand threads are alive at the same time, and each has allocated a little: the
 * malloc needs little memory for each of them.
 *
 *     threads-alive [threads] [KiB that a thread may cost]
 */
#include "program.h"
#include <limits.h>

enum { BLOCKS = 40 };
static pthread_barrier_t born, fed, end;
static long threads;

static void *live(void *arg) {
    static const size_t sizes[] = {16, 24, 40, 64, 100, 200, 500, 1000};
    void *blocks[BLOCKS];
    pthread_barrier_wait(&born); /* from here on, its stack and libc's records do not count */
    for (int i = 0; i < BLOCKS; i++)
        memset(blocks[i] = must_malloc(sizes[i % 8]), 1, sizes[i % 8]);
    pthread_barrier_wait(&fed);
    pthread_barrier_wait(&end);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return arg;
}

int main(int argc, char **argv) {
    threads = argument(argc, argv, 1, 1000);
    long allowed = argument(argc, argv, 2, 64);
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    pthread_barrier_init(&born, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&fed, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&end, NULL, (unsigned)threads + 1);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (long i = 0; i < threads; i++)
        check(pthread_create(&ids[i], &small, live, NULL) == 0, "no thread %ld", i);
    long before = resident_kib();
    pthread_barrier_wait(&born);
    pthread_barrier_wait(&fed);
    long each = (resident_kib() - before) / threads;
    pthread_barrier_wait(&end);
    for (long i = 0; i < threads; i++)
        join(ids[i]);
    say("%ld KiB per thread", each);
    check(each <= allowed, "%ld KiB per thread", each);
    return 0;
}
