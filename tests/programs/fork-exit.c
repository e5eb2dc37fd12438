/* A child that was forked by any thread can end as every process can: by exit, with handlers that
 * allocate, or when its last thread ends.
 *
 *     fork-exit [forks]
 */
#include "program.h"

static long forks;
static bool is_child;

static void at_exit(void) {
    if (!is_child)
        return;
    for (int i = 0; i < 50; i++) {
        char *p = must_malloc(1000);
        memset(p, 1, 1000);
        free(p);
    }
}

static char *made_before;

static void end_somehow(long how) {
    is_child = true;
    die_after(20);
    if (how % 2) {
        free(made_before);
        made_before = must_malloc(5000);
    }
    if (how % 3 == 0)
        exit(0);
    if (how % 3 == 1)
        pthread_exit(NULL); /* the last thread of this process */
    fflush(NULL);
    quick_exit(0);
}

static void *fork_often(void *arg) {
    if (arg)
        free(must_malloc(100));
    for (long i = 0; i < forks; i++) {
        pid_t child = fork();
        if (child == 0)
            end_somehow(i);
        check_child(child, i % 3 == 0 ? "that calls exit" : i % 3 == 1 ? "whose last thread ends"
                                                                       : "that calls quick_exit");
    }
    return NULL;
}

static void *allocate_once(void *arg) {
    made_before = must_malloc(2000);
    return arg;
}

int main(int argc, char **argv) {
    forks = argument(argc, argv, 1, 18);
    check(atexit(at_exit) == 0 && at_quick_exit(at_exit) == 0, "atexit failed");
    join(start(allocate_once, NULL));
    fork_often(NULL);
    join(start(fork_often, NULL));
    join(start(fork_often, &forks));
    return 0;
}
