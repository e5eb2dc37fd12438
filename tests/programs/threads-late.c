/* A destructor of a pthread key runs after the malloc's own, which may have given the thread's
 * cache to a thread that has just begun. Both allocate at the same time, and no block is handed to
 * both.
 *
 *     threads-late [threads] [calls of each] [largest block]
 */
#include "program.h"
#include <semaphore.h>

enum { SLOTS = 48 };
static pthread_key_t key;
static long calls;
static size_t largest;
static sem_t dying;
static pthread_barrier_t both;

static void work(uint64_t seed) {
    char *slots[SLOTS] = {NULL};
    size_t sizes[SLOTS] = {0};
    uint64_t random = seed;
    for (long i = 0; i < calls; i++) {
        size_t k = chance_below(&random, SLOTS);
        if (slots[k]) {
            check_filled(slots[k], sizes[k], seed + k);
            free(slots[k]);
        }
        sizes[k] = 16 + chance_below(&random, largest);
        fill(slots[k] = must_malloc(sizes[k]), sizes[k], seed + k);
    }
    for (int k = 0; k < SLOTS; k++)
        if (slots[k]) {
            check_filled(slots[k], sizes[k], seed + (uint64_t)k);
            free(slots[k]);
        }
}

/* Runs after the malloc's own destructor, if it has one, because the malloc's key is older than
 * ours. Waits for the second round, because the malloc may ask for one more call in the first. */
static void last_words(void *value) {
    static _Thread_local int round;
    if (++round == 1) {
        pthread_setspecific(key, value);
        return;
    }
    sem_post(&dying);
    pthread_barrier_wait(&both);
    work((uint64_t)(uintptr_t)value * 1000 + 1);
}

static void *live(void *arg) {
    for (size_t size = 16; size <= largest; size *= 2)
        free(must_malloc(size)); /* a cache of its own, with something in it */
    if (arg != (void *)1) { /* the thread before is ending meanwhile */
        pthread_barrier_wait(&both);
        work((uint64_t)(uintptr_t)arg * 1000 + 501);
    }
    pthread_setspecific(key, arg);
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 100);
    calls = argument(argc, argv, 2, 3000);
    largest = (size_t)argument(argc, argv, 3, 500);
    free(must_malloc(100));
    check(pthread_key_create(&key, last_words) == 0, "no pthread key");
    sem_init(&dying, 0, 0);
    pthread_barrier_init(&both, NULL, 2);
    pthread_t before = start(live, (void *)1);
    for (long i = 2; i <= threads; i++) {
        sem_wait(&dying);
        pthread_t next = start(live, (void *)i);
        join(before);
        before = next;
    }
    sem_wait(&dying);
    pthread_barrier_wait(&both);
    join(before);
    return 0;
}
