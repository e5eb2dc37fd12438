/* Prints the addresses of several kinds of blocks, a line for each kind. A test compares
 * several runs, because addresses that never change help attackers.
 *
 *     life-random [bytes of the largest block]
 */
#include "life.h"

static void *theirs;

static void *allocate(void *arg) {
    theirs = must_malloc(64);
    return arg;
}

int main(int argc, char **argv) {
    size_t huge = (size_t)argument(argc, argv, 1, 64 * MIB);
    say("first %p", must_malloc(64));
    say("large %p", must_malloc(300000));
    say("huge %p", must_malloc(huge));
    join(start(allocate, NULL));
    say("thread's %p", theirs);
    void *last = NULL;
    for (int i = 0; i < 15000; i++)
        last = must_malloc(300);
    say("last %p", last);
    return 0;
}
