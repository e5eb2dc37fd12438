/* Consumers free blocks of main, then only wait. The memory that each of them holds back
 * is bounded in bytes, not in blocks: main allocates the same again in the same memory,
 * and malloc_trim returns unused memory.
 *
 *     life-consumers [threads] [blocks for each] [bytes of a block]
 */
#include "life.h"

enum { HELD_KIB = 64, OWN_MIB = 12 }; /* a thread may hold back that much; all together need that */
static long each;
static char **blocks;
static pthread_barrier_t freed;

static void *consume(void *arg) {
    drop(blocks + (long)arg * each, each);
    sleep_for_ever(&freed);
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 200);
    each = argument(argc, argv, 2, 63);
    size_t size = (size_t)argument(argc, argv, 3, 32000);
    blocks = table((size_t)(threads * each), sizeof *blocks);
    pthread_barrier_init(&freed, NULL, (unsigned)threads + 1);
    long before = resident_mib();
    build(blocks, threads * each, size);
    long most = resident_mib() - before;
    for (long i = 0; i < threads; i++)
        start(consume, (void *)i);
    pthread_barrier_wait(&freed);
    long left = resident_mib() - before;
    malloc_trim(0);
    long trimmed = resident_mib() - before;
    build(blocks, threads * each, size);
    long again = resident_mib() - before, held = threads * HELD_KIB / 1024 + OWN_MIB;
    say("%ld threads freed %ld blocks of %zu bytes each of main's: %ld MiB, freed %ld, trimmed %ld, "
        "built again %ld", threads, each, size, most, left, trimmed, again);
    check(trimmed <= held + most / 8, "of %ld MiB %ld are held back", most, trimmed);
    check(again <= most + most / 8 + held, "%ld MiB became %ld when built again", most, again);
    _exit(0);
}
