/* Threads replace blocks; a thread that never allocates frees the replaced ones. Live memory is
 * bounded, and so is the memory of the process.
 *
 *     threads-reclaimer [producers] [blocks of each] [rounds] [size] [percent of what lives]
 */
#include "program.h"
#include <sys/mman.h>

enum { QUEUE = 1024 };
static long blocks, rounds;
static size_t size;
static char *queue[QUEUE];
static long put, taken, ended;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void hand_over(char **some, long count) {
    pthread_mutex_lock(&mutex);
    for (long i = 0; i < count; i++) {
        while (put - taken == QUEUE)
            pthread_cond_wait(&changed, &mutex);
        queue[put++ % QUEUE] = some[i];
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void *produce(void *arg) {
    size_t length = (size_t)blocks * sizeof(char *);
    char **mine = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check((void *)mine != MAP_FAILED, "mmap: %s", strerror(errno));
    for (long round = 0; round <= rounds; round++)
        for (long at = 0; at < blocks; at += 100) {
            long count = blocks - at < 100 ? blocks - at : 100;
            if (round > 0)
                hand_over(mine + at, count);
            for (long i = at; i < at + count; i++)
                memset(mine[i] = must_malloc(size), 1, size);
        }
    return arg;
}

static void *reclaim(void *arg) {
    char *some[QUEUE];
    for (;;) {
        pthread_mutex_lock(&mutex);
        while (put == taken && !ended)
            pthread_cond_wait(&changed, &mutex);
        long count = put - taken;
        for (long i = 0; i < count; i++)
            some[i] = queue[taken++ % QUEUE];
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
        if (count == 0)
            return arg;
        for (long i = 0; i < count; i++)
            free(some[i]);
    }
}

int main(int argc, char **argv) {
    long producers = argument(argc, argv, 1, 4);
    blocks = argument(argc, argv, 2, 10000);
    rounds = argument(argc, argv, 3, 10);
    size = (size_t)argument(argc, argv, 4, 592);
    long percent = argument(argc, argv, 5, 200);
    long first = resident_kib(), lives = producers * blocks * (long)size / 1024;
    pthread_t reclaimer = start(reclaim, NULL);
    run_threads(producers, produce);
    pthread_mutex_lock(&mutex);
    ended = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    join(reclaimer);
    long grown = resident_kib() - first;
    check(grown <= lives * percent / 100 + 16384,
          "%ld KiB live, %ld are resident when a thread that never allocates has freed the rest",
          lives,
          grown);
    return 0;
}
