/* A child forks as well, and its child, and so on; each starts threads of its own, which
 * are inside malloc when it forks. Blocks of every generation can be read, resized and
 * freed.
 *
 *     fork-generations [generations] [threads]
 */
#include "program.h"

enum { SIZE = 1500, BLOCKS = 10 };
static char *blocks[64][BLOCKS];

static void *allocate_for_ever(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    for (;;)
        free(must_malloc(chance_size(&random, 3000)));
    return NULL;
}

static void live(long number, long threads) {
    die_after(60);
    for (long i = 0; i < threads; i++)
        start(allocate_for_ever, (void *)i);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[number][i] = must_malloc(SIZE);
        fill(blocks[number][i], SIZE, (uint64_t)number);
    }
    for (long older = 0; older <= number; older++)
        for (int i = 0; i < BLOCKS; i++)
            if (blocks[older][i]) {
                check_filled(blocks[older][i], SIZE, (uint64_t)older);
                check(usable_size(blocks[older][i], SIZE) >= SIZE, "the usable size shrank");
            }
    if (number == 0)
        return;
    char *old = blocks[number - 1][1], *new = realloc(old, 2 * SIZE); /* one of the parent's */
    check(new, "realloc of the parent's block failed");
    check_moved(new, old, SIZE, (uint64_t)(number - 1));
    free(new);
    free(blocks[number - 1][0]); /* and frees another one of the parent's */
    blocks[number - 1][0] = blocks[number - 1][1] = NULL;
}

int main(int argc, char **argv) {
    long generations = argument(argc, argv, 1, 20), threads = argument(argc, argv, 2, 3);
    check(generations <= 64, "64 generations at most");
    for (long number = 0; number < generations; number++) {
        live(number, threads);
        pid_t child = fork();
        if (child == 0)
            continue;
        check_child(child, "of a child");
        break;
    }
    _exit(0); /* the threads have no end */
}
