/* fork while other threads are inside malloc, hundreds of times: in each child the heap
 * works. The child reads, resizes and frees blocks from before the fork, allocates new
 * ones, and ends; no child hangs, and the parent is not disturbed.
 *
 *     fork-threads [forks] [threads] [largest size] [how many fork at the same time]
 */
#include "program.h"

enum { OLD = 40, LIVE = 64, MANY_CALLS = 100000 };
static long forks, largest;
static atomic_long children; /* that have ended */
static atomic_int napping;   /* threads */
static atomic_bool stop;

static void *allocate_for_ever(void *arg) {
    uint64_t seed = (uint64_t)(uintptr_t)arg + 1, random = seed;
    struct {
        void *p;
        size_t size;
    } blocks[LIVE] = {0};
    long seen = 0, calls = 0; /* of this thread, since the last child ended */
    while (!stop) {
        if (seen != children)
            seen = children, calls = 0;
        else if (++calls > MANY_CALLS) { /* it hangs, or needs the processor: leave it */
            napping++;
            usleep(1000);
            napping--;
        }
        size_t i = chance_below(&random, LIVE), size = chance_size(&random, (size_t)largest);
        if (blocks[i].p)
            check_filled(blocks[i].p, blocks[i].size, seed);
        if (chance_below(&random, 4)) {
            free(blocks[i].p);
            blocks[i].p = must_malloc(size);
        } else {
            blocks[i].p = realloc(blocks[i].p, size + 1);
            check(blocks[i].p, "realloc to %zu bytes failed", size + 1);
        }
        blocks[i].size = size;
        fill(blocks[i].p, size, seed);
    }
    for (size_t i = 0; i < LIVE; i++)
        free(blocks[i].p);
    return NULL;
}

/* In a child: reads, resizes and frees the blocks that the forking thread had made. */
static void child(void **old, size_t *sizes, uint64_t seed) {
    void *own[OLD];
    for (int i = 0; i < OLD; i++) {
        check_filled(old[i], sizes[i], seed);
        check(usable_size(old[i], sizes[i]) >= sizes[i], "usable size %zu, asked for %zu",
              usable_size(old[i], sizes[i]), sizes[i]);
        own[i] = must_malloc(sizes[i]);
        fill(own[i], sizes[i], seed + 1);
    }
    for (int i = 0; i < OLD; i += 2) {
        uintptr_t origin = (uintptr_t)old[i];
        size_t size = sizes[i] / 2 + (size_t)i * 10 + 1;
        old[i] = realloc(old[i], size);
        check(old[i], "realloc of an old block failed");
        check_moved(old[i], (void *)origin, size < sizes[i] ? size : sizes[i], seed);
    }
    for (int i = 0; i < OLD; i++) {
        free(old[i]);
        check_filled(own[i], sizes[i], seed + 1);
        free(own[i]);
    }
    void *zeroed = calloc(100, 10);
    check(zeroed, "calloc failed");
    check_zero(zeroed, 1000);
}

static void *fork_often(void *arg) {
    uint64_t seed = (uint64_t)(uintptr_t)arg + 100, random = seed;
    void *old[OLD];
    size_t sizes[OLD];
    for (int i = 0; i < OLD; i++) {
        sizes[i] = chance_size(&random, (size_t)largest);
        old[i] = must_malloc(sizes[i]);
        fill(old[i], sizes[i], seed);
    }
    for (long i = 0; i < forks; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            die_after(30);
            child(old, sizes, seed);
            i % 2 ? exit(0) : _exit(0);
        }
        check_child(pid, "under threads");
        children++;
        if (napping)
            usleep(3000); /* they are back inside malloc for the next */
        size_t one = chance_below(&random, OLD); /* the parent's heap changes, too */
        free(old[one]);
        old[one] = must_malloc(sizes[one]);
        fill(old[one], sizes[one], seed);
    }
    for (int i = 0; i < OLD; i++) {
        check_filled(old[i], sizes[i], seed);
        free(old[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    forks = argument(argc, argv, 1, 300);
    long threads = argument(argc, argv, 2, 4), forkers = argument(argc, argv, 4, 1);
    largest = argument(argc, argv, 3, 4000);
    check(threads <= 32 && forkers <= 32, "32 threads of each kind at most");
    pthread_t busy[32], forking[32];
    for (long i = 0; i < threads; i++)
        busy[i] = start(allocate_for_ever, (void *)i);
    for (long i = 0; i < forkers; i++)
        forking[i] = start(fork_often, (void *)i);
    for (long i = 0; i < forkers; i++)
        join(forking[i]);
    stop = true;
    for (long i = 0; i < threads; i++)
        join(busy[i]);
    return 0;
}
