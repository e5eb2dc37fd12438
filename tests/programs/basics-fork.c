/* A child may allocate even if another thread of its parent was inside malloc at the fork. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int over;
static volatile long rounds;

static void *work(void *arg) {
    for (; !over; rounds++)
        free(malloc((size_t)(rounds % 3000)));
    return arg;
}

int main(void) {
    pthread_t id;
    int status = 0;
    pthread_create(&id, NULL, work, NULL);
    for (int i = 0; i < 60 && !status; i++) {
        for (long before = rounds; rounds == before;)
            sched_yield(); /* until the thread has had its turn */
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            for (size_t n = 0; n < 3000; n += 8)
                free(malloc(n));
            _exit(0);
        }
        waitpid(child, &status, 0);
    }
    over = 1;
    pthread_join(id, NULL);
    if (status)
        fprintf(stderr, "a child that allocates %s\n",
                WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hangs" : "crashes");
    return status != 0;
}
