/* A timer interrupts malloc wherever it happens to be, and the signal handler forks.
 * Every other child ends in the handler, after it has allocated there; the others return
 * from it, so that the interrupted call continues, and allocate for a while.
 *
 *     fork-storm [forks] [other threads that allocate] [largest size] [that fork as well]
 */
#include "program.h"
#include <sys/time.h>

enum { LIVE = 100, SEED = 1 };
static size_t largest;
static struct {
    unsigned char *p;
    size_t size;
} blocks[LIVE];
static volatile sig_atomic_t forks, is_child;
static atomic_bool stop;

static void *allocate_for_ever(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    sigset_t all; /* the timer is for the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!stop) {
        size_t size = chance_size(&random, largest);
        void *p = must_malloc(size);
        fill(p, size, random);
        check_filled(p, size, random);
        free(p);
    }
    return NULL;
}

static void *fork_for_ever(void *arg) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!stop) {
        pid_t child = fork();
        if (child == 0) {
            die_after(60);
            free(must_malloc(largest));
            _exit(0);
        }
        check_child(child, "of another thread");
        usleep(300);
    }
    return arg;
}

static void allocate_here(void) {
    for (size_t i = 0; i < 10; i++) {
        void *p = calloc(1, largest / 10 * i + 1);
        check(p, "calloc in the handler failed");
        check_zero(p, largest / 10 * i + 1);
        p = realloc(p, largest);
        check(p, "realloc in the handler failed");
        fill(p, largest, SEED);
        free(p);
    }
}

static void alarmed(int signal) {
    (void)signal;
    int saved = errno;
    pid_t child = fork();
    if (child == 0) {
        is_child = 1;
        die_after(60);
        allocate_here();
        if (forks % 2)
            _exit(0);
        errno = saved;
        return;
    }
    check_child(child, "from a signal handler");
    forks = forks + 1;
    errno = saved;
}

/* One random step. A signal may come anywhere in it, so a block is taken out of the table
 * before it is passed to malloc. */
static void step(uint64_t *random) {
    size_t i = chance_below(random, LIVE), size = chance_size(random, largest);
    unsigned char *p = blocks[i].p;
    size_t old = blocks[i].size;
    blocks[i].p = NULL;
    if (p)
        check_filled(p, old, SEED);
    if (p && chance_below(random, 3) == 0) {
        uintptr_t origin = (uintptr_t)p;
        p = realloc(p, size + 1);
        check(p, "realloc failed");
        check_moved(p, (void *)origin, old < size ? old : size, SEED);
    } else {
        free(p);
        p = must_malloc(size);
    }
    fill(p, size, SEED);
    blocks[i].size = size;
    blocks[i].p = p;
}

int main(int argc, char **argv) {
    long wanted = argument(argc, argv, 1, 200), threads = argument(argc, argv, 2, 0);
    largest = (size_t)argument(argc, argv, 3, 3000);
    long forkers = argument(argc, argv, 4, 0);
    check(threads + forkers <= 32, "32 threads at most");
    pthread_t busy[32];
    sigset_t timer; /* blocked in the other threads from their first instruction on */
    sigemptyset(&timer);
    sigaddset(&timer, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &timer, NULL);
    for (long i = 0; i < threads + forkers; i++)
        busy[i] = start(i < threads ? allocate_for_ever : fork_for_ever, (void *)i);
    struct sigaction action = {.sa_handler = alarmed};
    sigaction(SIGALRM, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &timer, NULL);

    uint64_t random = 1;
    for (int before = -1; forks < wanted && !is_child;) {
        if (before != forks) { /* the next one, 0.2 to 1.2 ms from now */
            before = forks;
            suseconds_t soon = 200 + (suseconds_t)chance_below(&random, 1000);
            setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = soon}, NULL);
        }
        step(&random);
    }
    if (is_child) {
        for (int i = 0; i < 300; i++)
            step(&random);
        _exit(0);
    }
    stop = true;
    for (long i = 0; i < threads + forkers; i++)
        join(busy[i]);
    return 0;
}
