/*
 * generations [--blocked 0|1]: a process with 16 MiB of blocks forks; the child frees and allocates
 * all of them anew, forks in its turn, and so on, ten times. With 1 every signal is blocked from
 * the start.
 *
 * Stands for: fork servers that replace themselves (zygotes, graceful restarts); daemons that
 * receive signals by signalfd and so keep them blocked for ever.
 * Shows: whether the memory that a child inherits is used again in it, generation after
 * generation.
 *
 *     points: first, last (printed by the last generation)
 */
#include "life.h"
#include <signal.h>
#include <sys/wait.h>

enum { TIMES = 10 };

/* The child continues as the new server. The old one waits for it, and keeps its blocks. */
static void succeed(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid < 0)
        life_fail("no process");
    if (pid == 0)
        return;
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        life_fail("a generation crashed");
    _exit(WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    if (life_option(argc, argv, "--blocked", 0) != 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
    }
    size_t bytes = scaled(16ul * MIB, MIB);
    struct heap heap = heap_new(bytes, 1);
    sizes_begin(1024);
    heap_fill(&heap, bytes);
    point("first", heap.live);
    for (int times = TIMES; times > 0; times--) {
        succeed();
        heap_drop(&heap, 0);
        heap_fill(&heap, bytes);
    }
    point("last", heap.live);
    life_end();
}
