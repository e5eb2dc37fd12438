/* Forks in signal handlers that interrupt malloc and free, thirty times; each child returns from the
 * handler, finishes the interrupted call, and ends with 7. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORKS = 30 };
static volatile sig_atomic_t forks, is_child;

static void handler(int number) {
    (void)number;
    if (is_child || forks == FORKS)
        return;
    forks++;
    if (fork() == 0)
        is_child = 1;
}

int main(void) {
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    signal(SIGALRM, handler);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int after = 0; is_child ? after < 3000 : forks < FORKS; after += is_child) {
        void *volatile block = malloc(100);
        free(block);
    }
    if (is_child)
        _exit(7);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    int bad = 0, status;
    for (int i = 0; i < FORKS; i++)
        bad += wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 7;
    printf("%d of %d children were bad\n", bad, FORKS);
    return bad > 0;
}
