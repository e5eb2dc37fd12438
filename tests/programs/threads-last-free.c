/* A thread that has never allocated frees blocks of others in the last destructor that the system
 * runs: no destructor of the malloc's own runs after that. Neither what the malloc prepared for the
 * thread, nor the blocks that it freed, may be lost.
 *
 *     threads-last-free [threads] [KiB that may stay resident]
 */
#include "program.h"
#include <limits.h>

enum { BLOCKS = 150, SIZE = 700 };
static pthread_key_t key;

static void last_words(void *value) {
    static _Thread_local int round;
    if (++round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(key, value);
        return;
    }
    char **blocks = value;
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}

static void *live(void *arg) {
    pthread_setspecific(key, arg);
    return NULL;
}

static void one(void) {
    static char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        memset(blocks[i] = must_malloc(SIZE), 1, SIZE);
    join(start(live, blocks));
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 1000), allowed = argument(argc, argv, 2, 16000);
    check(pthread_key_create(&key, last_words) == 0, "no pthread key");
    for (int i = 0; i < 10; i++)
        one();
    long first = resident_kib();
    for (long i = 10; i < threads; i++)
        one();
    long grown = resident_kib() - first;
    check(grown <= allowed, "%ld threads that freed in their last destructor left %ld KiB behind",
          threads, grown);
    return 0;
}
