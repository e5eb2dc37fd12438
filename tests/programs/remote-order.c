/* Blocks that another thread freed come back in the order of their frees: a core that fetches ahead
 * along them helps.
 *
 *     remote-order [blocks] [rounds]
 */
#include "program.h"

static char **blocks;
static long count;

static void *free_all(void *arg) {
    (void)arg;
    for (long i = 0; i < count; i++)
        free(blocks[i]);
    return NULL;
}

/* How many of the blocks lie at higher addresses than the one before: all but the first, if in order. */
static long ascending(void) {
    long found = 0;
    for (long i = 1; i < count; i++)
        found += blocks[i] > blocks[i - 1];
    return found;
}

int main(int argc, char **argv) {
    count = argument(argc, argv, 1, 1000);
    long rounds = argument(argc, argv, 2, 6), most = count * 8 / 10;
    blocks = calloc((size_t)count, sizeof *blocks);
    for (long r = 0; r < rounds; r++) {
        for (long i = 0; i < count; i++)
            blocks[i] = must_malloc(100);
        check(ascending() >= most, "round %ld: %ld of %ld blocks in order", r, ascending(), count);
        join(start(free_all, NULL));
    }
    return 0;
}
