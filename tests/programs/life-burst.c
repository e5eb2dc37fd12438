/* After a burst, memory goes back to the system while the program continues with a few
 * small blocks. The program allocates nothing large and never calls malloc_trim.
 *
 *     life-burst [blocks of a thread] [bytes of a block] [threads] [seconds at most]
 */
#include "life.h"

enum { SLOTS = 64 };
static long count;
static size_t size;
static atomic_bool done;
static pthread_barrier_t full, empty;

static void small_traffic(char **slots, uint64_t *random, long calls) {
    for (long i = 0; i < calls; i++) {
        size_t k = chance_below(random, SLOTS);
        free(slots[k]);
        slots[k] = must_malloc(16 + chance_below(random, 500));
    }
}

static void *live(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    char *slots[SLOTS] = {NULL}, **blocks = table((size_t)count, sizeof *blocks);
    build(blocks, count, size);
    pthread_barrier_wait(&full);
    drop(blocks, count);
    munmap(blocks, (size_t)count * sizeof *blocks);
    pthread_barrier_wait(&empty);
    while (!atomic_load(&done)) {
        small_traffic(slots, &random, 500);
        pause_ms(1);
    }
    return NULL;
}

int main(int argc, char **argv) {
    count = argument(argc, argv, 1, 1500000);
    size = (size_t)argument(argc, argv, 2, 128);
    long threads = argument(argc, argv, 3, 1), limit = argument(argc, argv, 4, 10);
    pthread_barrier_init(&full, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&empty, NULL, (unsigned)threads + 1);
    long before = resident_mib();
    for (long i = 0; i < threads; i++)
        start(live, (void *)i);
    pthread_barrier_wait(&full);
    long most = resident_mib() - before;
    pthread_barrier_wait(&empty);
    long freed = resident_mib() - before, left = freed, few = 8 + most / 8;
    double begin = now();
    while (left > few && now() - begin < (double)limit) {
        pause_ms(50);
        left = resident_mib() - before;
    }
    say("%ld MiB, freed: %ld, after %.1f s of small traffic: %ld", most, freed, now() - begin, left);
    atomic_store(&done, true);
    check(left <= few, "of %ld MiB %ld are still there after %ld s", most, left, limit);
    _exit(0);
}
