/* When a thread ends, destructors of pthread keys and of thread-local C++ objects
 * allocate, resize and free, round after round, up to the last round that the system
 * runs. Memory stays bounded over many such threads.
 *
 *     threads-destructors [threads] [KiB that may stay resident; 0: any]
 */
#include "program.h"
#include <limits.h>

enum { SIZE = 20000 };
static pthread_key_t key;
static atomic_int ran;

/* As `thread_local` objects of C++ register their destructors. */
extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso);
extern void *__dso_handle;

static void *swap(void *old) {
    check_filled(old, SIZE, 1);
    void *other = calloc(1, SIZE);
    check(other, "calloc in a destructor failed");
    check_zero(other, SIZE);
    free(other);
    void *new = realloc(old, 2 * SIZE);
    check(new, "realloc in a destructor failed");
    check_moved(new, old, SIZE, 1);
    fill(new, SIZE, 1);
    atomic_fetch_add(&ran, 1);
    return new;
}

static void object_destroy(void *object) { free(swap(object)); }

/* A key whose value is set again gets another round, PTHREAD_DESTRUCTOR_ITERATIONS
 * in all; in the last the block is freed. */
static void key_destroy(void *value) {
    static _Thread_local int round;
    value = swap(value);
    if (++round == PTHREAD_DESTRUCTOR_ITERATIONS)
        free(value);
    else
        pthread_setspecific(key, value);
}

static void *live_and_die(void *arg) {
    (void)arg;
    void *of_object = must_malloc(SIZE), *of_key = must_malloc(SIZE);
    fill(of_object, SIZE, 1);
    fill(of_key, SIZE, 1);
    __cxa_thread_atexit_impl(object_destroy, of_object, &__dso_handle);
    pthread_setspecific(key, of_key);
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 500), allowed = argument(argc, argv, 2, 0);
    check(pthread_key_create(&key, key_destroy) == 0, "no pthread key");
    join(start(live_and_die, NULL));
    long start_kib = resident_kib();
    for (long i = 1; i < threads; i++)
        join(start(live_and_die, NULL));
    long expected = threads * (1 + PTHREAD_DESTRUCTOR_ITERATIONS);
    check(ran == expected, "%d destructors ran, not %ld", ran, expected);
    long grown = resident_kib() - start_kib;
    check(!allowed || grown <= allowed, "%ld threads left %ld KiB behind", threads, grown);
    return 0;
}
