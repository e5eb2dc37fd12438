/* fork while another thread moves the program break, up and down. The kernel copies
 * its own record of the break a little before the memory itself, so in a child it may
 * be impossible to move the break, or the break may move without any memory. The child's
 * blocks are good all the same.
 *
 *     fork-break [forks] [largest size]
 */
#include "program.h"

enum { BLOCKS = 40, STEP = 1 << 16 };
static atomic_bool stop;

/* No other thread moves the parent's break meanwhile, because sbrk is not thread-safe. */
static void *move_for_ever(void *arg) {
    while (!stop) {
        check(sbrk(STEP) != (void *)-1, "sbrk: %s", strerror(errno));
        check(sbrk(-STEP) != (void *)-1, "sbrk: %s", strerror(errno));
    }
    return arg;
}

static void child(size_t largest) {
    char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        fill(blocks[i] = must_malloc(largest), largest, i);
    for (size_t i = 0; i < BLOCKS; i++) {
        check_filled(blocks[i], largest, i);
        free(blocks[i]);
    }
}

int main(int argc, char **argv) {
    long forks = argument(argc, argv, 1, 300);
    size_t largest = (size_t)argument(argc, argv, 2, 60000);
    free(must_malloc(largest));
    pthread_t mover = start(move_for_ever, NULL);
    for (long i = 0; i < forks; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            die_after(30);
            child(largest);
            _exit(0);
        }
        check_child(pid, "while the break moved");
    }
    stop = true;
    join(mover);
    return 0;
}
