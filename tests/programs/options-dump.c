/* Programs for LIBMALLOC_OPTIONS=stats=FILE,dump=SIGNAL. Prints its process id.
 *
 *     options-dump exit BLOCKS      holds so many blocks of 1,000 bytes, and ends
 *     options-dump quick BLOCKS     the same, by _exit
 *     options-dump fork             a child ends as well
 *     options-dump raise SIGNAL     holds 100 blocks, and sends itself the signal
 *     options-dump own SIGNAL       the same, with a handler of its own
 *     options-dump storm SIGNAL     allocates in two threads, while signals come all the time
 */
#include "program.h"

static void *held[100000];
static atomic_bool done;
static atomic_int seen;

static void hold(long count) {
    for (long i = 0; i < count; i++)
        held[i] = must_malloc(1000);
}

static void own(int signal) {
    (void)signal;
    seen++;
}

static void *churn(void *arg) {
    uint64_t state = (uintptr_t)arg + 1;
    void *mine[64] = {0};
    while (!done) {
        size_t i = chance_below(&state, 64);
        free(mine[i]);
        mine[i] = must_malloc(chance_size(&state, 200000));
    }
    for (size_t i = 0; i < 64; i++)
        free(mine[i]);
    return NULL;
}

/* A signal reaches either thread, most of the time inside malloc. */
static void storm(int signal) {
    pthread_t threads[2] = {start(churn, (void *)0), start(churn, (void *)1)};
    for (int i = 0; i < 100; i++) {
        check(pthread_kill(threads[i % 2], signal) == 0, "pthread_kill failed");
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    }
    done = true;
    join(threads[0]);
    join(threads[1]);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "exit";
    int number = (int)argument(argc, argv, 2, 0);
    say("%d", getpid());
    if (!strcmp(what, "exit") || !strcmp(what, "quick"))
        hold(number);
    if (!strcmp(what, "quick"))
        _exit(0);
    if (!strcmp(what, "fork")) {
        pid_t child = fork();
        if (child == 0)
            exit(0);
        say("%d", child);
        check_child(child, "a child that ends");
    }
    if (!strcmp(what, "own"))
        check(signal(number, own) != SIG_ERR, "signal failed");
    if (!strcmp(what, "raise") || !strcmp(what, "own")) {
        hold(100);
        errno = 4711;
        raise(number);
        check(errno == 4711, "the handler changed errno");
        check(seen == !strcmp(what, "own"), "our handler ran %d times", seen);
    }
    if (!strcmp(what, "storm")) {
        die_after(60);
        storm(number);
    }
    return 0;
}
