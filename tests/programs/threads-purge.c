/* Large blocks come and go in several threads while another one gives unused memory back
 * to the system all the time: it never gives back pages that are in use, and the memory
 * that calloc hands out is zero.
 *
 *     threads-purge [threads] [blocks of a thread] [largest, KiB]
 */
#include "program.h"

enum { LIVE = 6, PAGE = 4096 };
static long blocks, largest;
static atomic_bool done;

/* A word in each page says whose block it is. */
static void mark(char *p, size_t size, uint64_t seed) {
    for (size_t i = 0; i + sizeof seed <= size; i += PAGE)
        *(uint64_t *)(p + i) = seed ^ (uint64_t)(uintptr_t)(p + i);
}

static void check_marked(const char *p, size_t size, uint64_t seed) {
    for (size_t i = 0; i + sizeof seed <= size; i += PAGE)
        check(*(const uint64_t *)(p + i) == (seed ^ (uint64_t)(uintptr_t)(p + i)),
              "page %zu of a block of %zu bytes at %p lost what was in it", i / PAGE, size,
              (const void *)p);
}

static void check_zero_marks(const char *p, size_t size) {
    for (size_t i = 0; i + sizeof(uint64_t) <= size; i += PAGE)
        check(*(const uint64_t *)(p + i) == 0, "calloc: page %zu of %zu bytes at %p is not zero",
              i / PAGE, size, (const void *)p);
}

static void *cycle(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1, seeds[LIVE] = {0};
    char *live[LIVE] = {NULL};
    size_t sizes[LIVE] = {0};
    for (long i = 0; i < blocks; i++) {
        size_t k = chance_below(&random, LIVE);
        check_marked(live[k], live[k] ? sizes[k] : 0, seeds[k]);
        free(live[k]);
        sizes[k] = 8 + chance_size(&random, (size_t)largest * 1024);
        bool zero = chance_below(&random, 2);
        check((live[k] = zero ? calloc(1, sizes[k]) : malloc(sizes[k])), "no memory");
        if (zero)
            check_zero_marks(live[k], sizes[k]);
        seeds[k] = chance(&random);
        mark(live[k], sizes[k], seeds[k]);
    }
    for (int k = 0; k < LIVE; k++)
        free(live[k]);
    return NULL;
}

static void *trim(void *arg) {
    while (!atomic_load(&done)) {
        malloc_trim(0);
        usleep(200);
    }
    return arg;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 4);
    blocks = argument(argc, argv, 2, 2000);
    largest = argument(argc, argv, 3, 1000);
    pthread_t ids[64], trimmer = start(trim, NULL);
    check(threads <= 64, "64 threads at most");
    for (long i = 0; i < threads; i++)
        ids[i] = start(cycle, (void *)i);
    for (long i = 0; i < threads; i++)
        join(ids[i]);
    atomic_store(&done, true);
    join(trimmer);
    return 0;
}
