/* A server's child takes over and forks the next one, many times. Each generation frees
 * the blocks that it inherited and allocates the same again: it needs no more memory than
 * the first. Signals may be blocked for ever, as with signalfd.
 *
 *     life-generations [none|SIGCHLD|all] [generations] [blocks] [bytes of a block]
 */
#include "life.h"

int main(int argc, char **argv) {
    const char *blocked = argc > 1 ? argv[1] : "none";
    long generations = argument(argc, argv, 2, 30), count = argument(argc, argv, 3, 50000);
    size_t size = (size_t)argument(argc, argv, 4, 200);
    sigset_t signals;
    sigemptyset(&signals);
    if (!strcmp(blocked, "SIGCHLD"))
        sigaddset(&signals, SIGCHLD);
    if (!strcmp(blocked, "all"))
        sigfillset(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    char **blocks = table((size_t)count, sizeof *blocks);
    build(blocks, count, size);
    long first = resident_mib();
    for (long i = 0; i < generations; i++) {
        pid_t child = fork();
        if (child != 0) { /* a later generation has printed the reason */
            int status = 0;
            check(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
            check(!WIFSIGNALED(status), "generation %ld died of signal %d", i, WTERMSIG(status));
            _exit(WEXITSTATUS(status));
        }
        drop(blocks, count);
        build(blocks, count, size);
    }
    long last = resident_mib();
    say("%s blocked: %ld MiB, after %ld generations: %ld", blocked, first, generations, last);
    check(last <= first * 3 / 2 + 8, "%ld MiB became %ld in %ld generations", first, last, generations);
    return 0;
}
