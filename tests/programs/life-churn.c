/* Brief threads come and go, one after the other, while many others are idle. The
 * process needs the memory of one brief thread, however many there have been.
 *
 *     life-churn [idle threads] [brief threads]
 */
#include "life.h"

enum { BLOCKS = 400, SETTLED = 100 };
static pthread_barrier_t ready;

static void *idle(void *arg) {
    free(must_malloc(100));
    sleep_for_ever(&ready);
    return arg;
}

static void *brief(void *arg) {
    char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = 16 + (size_t)i * 20;
        memset(blocks[i] = must_malloc(size), 1, size);
    }
    drop(blocks, BLOCKS);
    return arg;
}

int main(int argc, char **argv) {
    long idles = argument(argc, argv, 1, 200), briefs = argument(argc, argv, 2, 2000);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_barrier_init(&ready, NULL, (unsigned)idles + 1);
    pthread_t thread;
    for (long i = 0; i < idles; i++) {
        int error = pthread_create(&thread, &small, idle, NULL);
        check(!error, "idle thread %ld: %s", i, strerror(error));
    }
    pthread_barrier_wait(&ready);
    long before = resident_mib(), settled = 0;
    for (long i = 0; i < briefs; i++) {
        int error = pthread_create(&thread, &small, brief, NULL);
        check(!error, "brief thread %ld: %s", i, strerror(error));
        join(thread);
        if (i == SETTLED)
            settled = resident_mib();
    }
    long after = resident_mib();
    say("%ld idle threads: %ld MiB, with %d brief ones: %ld, with %ld: %ld", idles, before, SETTLED,
        settled, briefs, after);
    check(after - before <= 24, "%ld brief threads beside %ld idle ones cost %ld MiB", briefs, idles,
          after - before);
    _exit(0);
}
