/* A child of vfork allocates and frees, although it should not: it runs on the memory of
 * its parent, and has a thread id of its own. No block is handed out twice, neither to
 * the thread that called vfork nor to main, which runs meanwhile. The parent can free
 * blocks that the child left.
 *
 *     life-vfork [has the thread used malloc before?] [calls afterwards] [children]
 */
#include "life.h"

enum { SLOTS = 64, SIZES = 400 };
static bool used;
static long calls, vforks;
static atomic_bool done;
static char *volatile left, *volatile inherited;

static void replace(char **slot, size_t *size, uint64_t seed, uint64_t *random) {
    if (*slot) {
        check_filled(*slot, *size, seed);
        free(*slot);
    }
    *size = 16 + chance_below(random, SIZES);
    fill(*slot = must_malloc(*size), *size, seed);
}

static void work(uint64_t seed, long count, atomic_bool *until) {
    char *slots[SLOTS] = {NULL};
    size_t sizes[SLOTS] = {0};
    uint64_t random = seed;
    for (long i = 0; until ? !atomic_load(until) : i < count; i++) {
        size_t k = chance_below(&random, SLOTS);
        replace(&slots[k], &sizes[k], seed * SLOTS + k, &random);
    }
    for (size_t k = 0; k < SLOTS; k++)
        if (slots[k])
            check_filled(slots[k], sizes[k], seed * SLOTS + k);
    drop(slots, SLOTS);
}

static void *parent(void *arg) {
    inherited = NULL;
    if (used)
        fill(inherited = must_malloc(100), 100, 1);
    for (long i = 0; i < vforks; i++) {
        pid_t child = vfork();
        if (child == 0) {
            free(inherited);
            free(memset(malloc(5000), 1, 5000));
            left = memset(malloc(100), 2, 100);
            _exit(0);
        }
        check_child(child, "of vfork");
        inherited = left;
        check(inherited && inherited[0] == 2 && inherited[99] == 2, "the child's block is lost");
        work(2, calls / vforks, NULL);
    }
    free(inherited);
    atomic_store(&done, true);
    return arg;
}

int main(int argc, char **argv) {
    used = argument(argc, argv, 1, 0);
    calls = argument(argc, argv, 2, 300000);
    vforks = argument(argc, argv, 3, 3);
    die_after(50);
    free(must_malloc(100));
    pthread_t thread = start(parent, NULL);
    work(1, 0, &done);
    join(thread);
    return 0;
}
