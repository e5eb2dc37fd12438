/* A thread allocates many blocks, and from then on only frees. It must not keep the memory
 * of its blocks that others free: when all are freed, another thread allocates as much, and
 * the process does not grow.
 *
 *     threads-frees-only [MiB] [size]
 */
#include "program.h"

static char **blocks;
static size_t size;
static long count;
static pthread_barrier_t turn;

static void touch(char *p) {
    for (size_t i = 0; i < size; i += 4096)
        p[i] = 1;
    p[size - 1] = 1;
}

/* Frees every other block of the main thread's. */
static void *free_odd(void *arg) {
    for (long i = 1; i < count; i += 2)
        free(blocks[i]);
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn); /* stays alive, idle */
    return arg;
}

static void *allocate_all(void *arg) {
    for (long i = 0; i < count; i++)
        touch(blocks[i] = must_malloc(size));
    return arg;
}

int main(int argc, char **argv) {
    long mib = argument(argc, argv, 1, 64);
    size = (size_t)argument(argc, argv, 2, 3000);
    count = (mib << 20) / (long)size;
    blocks = calloc((size_t)count, sizeof *blocks);
    pthread_barrier_init(&turn, NULL, 2);
    long before = resident_kib();
    allocate_all(NULL);
    long full = resident_kib() - before;
    pthread_t other = start(free_odd, NULL);
    pthread_barrier_wait(&turn);
    for (long i = 0; i < count; i += 2)
        free(blocks[i]);
    join(start(allocate_all, NULL)); /* in a heap of its own: main's is taken */
    long again = resident_kib() - before;
    pthread_barrier_wait(&turn);
    join(other);
    check(again <= full + full / 4, "%ld KiB for the blocks, %ld KiB when they were freed and "
          "as many made again by another thread", full, again);
    return 0;
}
