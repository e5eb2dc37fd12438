/* Threads allocate and free at the same time, and share no byte. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

enum { THREADS = 4, LIVE = 64 };
static int calls = 1000000;

static void *work(void *arg) {
    int *blocks[LIVE] = {0}, me = *(int *)arg;
    for (int i = 0; i < calls; i++) {
        int **at = &blocks[(i * 7 + me) % LIVE];
        if (*at && ((*at)[0] != me || (*at)[3] != me)) {
            fprintf(stderr, "two threads have the same block\n");
            _exit(1);
        }
        free(*at);
        *at = malloc((size_t)(16 + i % 200));
        (*at)[0] = (*at)[3] = me;
    }
    for (int i = 0; i < LIVE; i++)
        free(blocks[i]);
    return NULL;
}

/* Another thread takes over in the middle of a call, even where there is one processor for all. */
static void give_way(int signal) {
    (void)signal;
    sched_yield();
}

int main(int argc, char **argv) {
    if (argc > 1)
        calls = atoi(argv[1]);
    struct itimerval often = {{0, 200}, {0, 200}};
    signal(SIGALRM, give_way);
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t ids[THREADS];
    int numbers[THREADS];
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
