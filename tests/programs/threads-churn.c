/* Hundreds of thousands of threads start and end: each frees blocks of ended threads, and
 * leaves blocks of its own, which another thread frees after it has ended. No block is
 * damaged, and memory stays bounded.
 *
 *     threads-churn [threads] [alive at once] [KiB by which memory may grow]
 */
#include "program.h"

enum { SLOTS = 1024, BLOCKS = 12, LARGEST = 3000, MOST = 64 };

struct parcel {
    size_t size;
    uint64_t seed;
    unsigned char data[];
};
static _Atomic(struct parcel *) slots[SLOTS];

static struct parcel *parcel_make(uint64_t *random) {
    size_t size = chance_size(random, LARGEST);
    struct parcel *p = must_malloc(sizeof *p + size);
    *p = (struct parcel){.size = size, .seed = chance(random)};
    fill(p->data, size, p->seed);
    return p;
}

static void parcel_end(struct parcel *p) {
    if (p)
        check_filled(p->data, p->size, p->seed);
    free(p);
}

static void *live_and_die(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    for (int i = 0; i < BLOCKS; i++) {
        size_t slot = chance_below(&random, SLOTS);
        parcel_end(atomic_exchange(&slots[slot], parcel_make(&random)));
    }
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 5000), alive = argument(argc, argv, 2, 6);
    long allowed = argument(argc, argv, 3, 6000);
    pthread_t ids[MOST];
    check(alive <= MOST, "%d threads at once at most", MOST);
    long early_kib = 0;
    for (long i = 0; i < threads + alive; i++) {
        if (i >= alive)
            join(ids[i % alive]);
        if (i < threads)
            ids[i % alive] = start(live_and_die, (void *)i);
        if (i == threads / 10) /* by now the slots are full */
            early_kib = resident_kib();
    }
    long grown = resident_kib() - early_kib;
    check(grown <= allowed, "memory grew by %ld KiB over %ld threads", grown, threads);
    for (int i = 0; i < SLOTS; i++)
        parcel_end(slots[i]);
    return 0;
}
