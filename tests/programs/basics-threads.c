/* Threads allocate and free at the same time, and share no byte. */
#include "stepped.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { THREADS = 4, LIVE = 64, SPARE = 6, PLACES = 200, WAITS = 12 };
static int calls = 1000000;

static void shared(void) {
    static const char text[] = "two threads have the same block\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) { /* the status says it too */
    }
    _exit(1);
}

/* ── one thread stops at each instruction of a call in turn, while another makes a call ───── */

static size_t size;
static void *mine, *others;
static void take_mine(void) { mine = malloc(size); }
static void free_mine(void) { free(mine); }
static void take_others(void) { others = malloc(size); }
static void free_others(void) { free(others); }

/* Writes to each of these blocks, then looks for bytes that have changed. */
static void all_apart(void *blocks[], int count) {
    for (int i = 0; i < count; i++)
        if (blocks[i])
            memset(blocks[i], i + 1, size);
    for (int i = 0; i < count; i++)
        for (size_t k = 0; blocks[i] && k < size; k++)
            if (((unsigned char *)blocks[i])[k] != i + 1)
                shared();
}

/* False when the first call has no such instruction. */
static bool meet_at(long place, bool frees, bool other_frees) {
    void *blocks[SPARE + 4];
    int count = 0;
    for (int i = 0; i < SPARE; i++)
        blocks[i] = malloc(size);
    mine = frees ? malloc(size) : NULL;
    others = other_frees ? malloc(size) : NULL;
    for (int i = 0; i < SPARE; i++)
        free(blocks[i]);
    bool met = step(place, frees ? free_mine : take_mine, other_frees ? free_others : take_others);
    if (!frees)
        blocks[count++] = mine;
    if (other_frees != met) /* it holds a block that it allocated, or has not freed */
        blocks[count++] = others;
    for (int i = 0; i < SPARE + 2; i++)
        blocks[count++] = malloc(size);
    all_apart(blocks, count);
    for (int i = 0; i < count; i++)
        free(blocks[i]);
    return met;
}

static void meet_at_each(void) {
    start_other();
    for (int way = 0; way < 8; way++) {
        size = way < 4 ? 48 : 3000;
        step_waits = 0;
        for (long place = 1; place < PLACES && step_waits < WAITS; place++)
            if (!meet_at(place, way & 1, way & 2))
                break;
    }
}

/* ── many threads, at random ──────────────────────────────────────────────────────────────── */

static pthread_barrier_t together;

static void *work(void *arg) {
    int *blocks[LIVE] = {0}, me = *(int *)arg;
    pthread_barrier_wait(&together);
    for (int i = 0; i < calls; i++) {
        int **at = &blocks[(i * 7 + me) % LIVE];
        if (*at && ((*at)[0] != me || (*at)[3] != me))
            shared();
        free(*at);
        *at = malloc((size_t)(16 + i % 200));
        (*at)[0] = (*at)[3] = me;
    }
    for (int i = 0; i < LIVE; i++)
        free(blocks[i]);
    return NULL;
}

/* Makes threads alternate in the middle of calls, even on a single processor. */
static void give_way(int signal) {
    (void)signal;
    sched_yield();
}

int main(int argc, char **argv) {
    if (argc > 1)
        calls = atoi(argv[1]);
    meet_at_each();
    struct itimerval often = {{0, 200}, {0, 200}};
    signal(SIGALRM, give_way);
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t ids[THREADS];
    int numbers[THREADS];
    pthread_barrier_init(&together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&ids[i], NULL, work, &numbers[i]);
    }
    sigset_t alarms; /* for the threads, not for the one that waits */
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    return 0;
}
