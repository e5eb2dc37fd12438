/* A child frees its parent's blocks, and allocates as many: it needs little more memory than it
 * had after the fork. Half of the blocks may belong to a thread that does not exist in the child.
 *
 *     fork-reuse [blocks] [size of a block] [rounds] [are half of them another thread's?]
 *                [percent of them by which the child may grow]
 */
#include "program.h"

enum { MOST = 100000 };
static char *blocks[MOST];
static long count;
static size_t size;
static pthread_barrier_t built;

static void build(long from, long step) {
    for (long i = from; i < count; i += step)
        memset(blocks[i] = must_malloc(size), (char)i, size);
}

static void *build_half(void *arg) {
    build(1, 2);
    pthread_barrier_wait(&built);
    for (;;)
        pause();
    return arg;
}

static void replace_all(void) {
    for (long i = 0; i < count; i++) {
        check(blocks[i][0] == (char)i && blocks[i][size - 1] == (char)i, "block %ld was changed",
              i);
        free(blocks[i]);
    }
    build(0, 1);
}

int main(int argc, char **argv) {
    count = argument(argc, argv, 1, 40000);
    size = (size_t)argument(argc, argv, 2, 500);
    long rounds = argument(argc, argv, 3, 3), percent = argument(argc, argv, 5, 50);
    check(count <= MOST, "%d blocks at most", MOST);
    if (argument(argc, argv, 4, 0)) {
        pthread_barrier_init(&built, NULL, 2);
        start(build_half, NULL);
        pthread_barrier_wait(&built);
    } else {
        build(1, 2);
    }
    build(0, 2);
    pid_t child = fork();
    if (child == 0) {
        die_after(60);
        long first = resident_kib(), whole = count * (long)size / 1024;
        for (long i = 0; i < rounds; i++)
            replace_all();
        long grown = resident_kib() - first;
        check(grown <= whole * percent / 100 + 4096,
              "a child that replaced %ld KiB %ld times grew by %ld",
              whole, rounds, grown);
        _exit(0);
    }
    int status;
    check(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
    check(!WIFSIGNALED(status), "the child died of signal %d", WTERMSIG(status));
    _exit(WEXITSTATUS(status)); /* the child has printed the reason */
}
