/* malloc is no cancellation point: a thread with a pending cancellation makes any number
 * of calls until it reaches a cancellation point, even while other threads make it wait
 * (they use the same locks, and fork all the time). A cancelled thread holds no lock when
 * it ends.
 */
#include "program.h"

enum { ROUNDS = 30, CALLS = 300 };
static atomic_bool stop;
static atomic_int done;
static size_t size;

static void *fork_for_ever(void *arg) {
    (void)arg;
    while (!stop) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        check_child(child, "one of many");
    }
    return NULL;
}

static void *allocate_for_ever(void *arg) {
    (void)arg;
    while (!stop)
        free(must_malloc(size));
    return NULL;
}

/* Cancelled before it begins; pthread_testcancel is the first point where it ends. */
static void *allocate_when_cancelled(void *arg) {
    (void)arg;
    pthread_cancel(pthread_self());
    for (int i = 0; i < CALLS; i++) {
        void *p = realloc(must_malloc(size), 2 * size);
        check(p, "realloc failed");
        void *q = calloc(1, size);
        check(q, "calloc failed");
        free(p);
        free(q);
    }
    atomic_fetch_add(&done, 1);
    pthread_testcancel();
    check(false, "the thread was not cancelled");
    return NULL;
}

int main(int argc, char **argv) {
    long rounds = argument(argc, argv, 1, ROUNDS);
    size = (size_t)argument(argc, argv, 2, 100000);
    pthread_t forker = start(fork_for_ever, NULL), other = start(allocate_for_ever, NULL);
    for (long round = 0; round < rounds; round++) {
        pthread_t thread = start(allocate_when_cancelled, NULL);
        void *result;
        pthread_join(thread, &result);
        check(result == PTHREAD_CANCELED, "the thread was not cancelled");
        check(done == round + 1, "malloc was a cancellation point in round %ld", round);
    }
    stop = true;
    join(forker);
    join(other);
    return 0;
}
