/* The owner of many blocks makes no calls any more: it sleeps, or it was main and has
 * ended. Another thread frees all of them. That thread can use the memory for blocks of
 * any size (`reuse`), and malloc_trim gives it back (`trim`).
 *
 *     life-owner [sleeps|ended] [reuse|trim] [blocks] [bytes of one] [bytes of one later]
 */
#include "life.h"

static char **blocks;
static long count, again, before;
static size_t size, later;
static bool trims, main_ends;
static pthread_t main_thread;
static pthread_barrier_t built;

static void *own(void *arg) {
    build(blocks, count, size);
    sleep_for_ever(&built);
    return arg;
}

static void *free_all(void *arg) {
    if (main_ends)
        join(main_thread);
    long most = resident_mib() - before;
    drop(blocks, count);
    long freed = resident_mib() - before;
    if (trims)
        malloc_trim(0);
    long trimmed = resident_mib() - before;
    if (trims) {
        say("%ld MiB, freed by another thread: %ld, trimmed: %ld", most, freed, trimmed);
        check(trimmed <= most / 2 + 4, "of %ld MiB malloc_trim left %ld", most, trimmed);
        _exit(0);
    }
    build(blocks, again, later); /* about as many bytes */
    long rebuilt = resident_mib() - before;
    say("%ld MiB, freed by another thread: %ld, built anew: %ld", most, freed, rebuilt);
    check(rebuilt <= most * 5 / 4 + 8, "%ld MiB became %ld when they were built anew", most, rebuilt);
    _exit(0);
    return arg;
}

int main(int argc, char **argv) {
    main_ends = argc > 1 && !strcmp(argv[1], "ended");
    trims = argc > 2 && !strcmp(argv[2], "trim");
    count = argument(argc, argv, 3, 1000000);
    size = (size_t)argument(argc, argv, 4, 112);
    later = (size_t)argument(argc, argv, 5, (long)size);
    again = count * (long)size / (long)later;
    size_t most = (size_t)(again > count ? again : count);
    blocks = table(most, sizeof *blocks);
    memset(blocks, 0, most * sizeof *blocks);
    before = resident_mib();
    main_thread = pthread_self();
    if (main_ends) {
        build(blocks, count, size);
        start(free_all, NULL);
        pthread_exit(NULL);
    }
    pthread_barrier_init(&built, NULL, 2);
    start(own, NULL);
    pthread_barrier_wait(&built);
    free_all(NULL);
}
