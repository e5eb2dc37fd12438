/*
 * spawn: thousands of processes that do next to nothing, one after the other.
 *
 * Stands for: shell scripts, builds, git: most processes live for milliseconds.
 * Shows: the fixed cost of a malloc: loading and initialising it, system calls, the pages that it
 * touches, and what it does at exit. The peak memory of such a run is that of one small process.
 *
 * Each child is this program again; it allocates as much as a small tool, checks its blocks, and
 * reports the result by its exit status.
 */
#include <sys/wait.h>
#include <unistd.h>
#include "program.h"

enum { BLOCKS = 40 };

static int child(void)
{
    struct block *block[BLOCKS];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < BLOCKS; i++)
        block[i] = block_new(16 + 16 * (i % 20), i);
    for (uint32_t i = 0; i < BLOCKS; i++)
        sum += block_end(block[i]);
    return (int)(sum % 101);
}

static int child_run(char *self)
{
    char *argv[] = {self, (char *)"--child", NULL};
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        fputs("spawn: a child failed\n", stderr);
        _exit(1);
    }
    return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    uint64_t sum = 0;
    if (argc == 2 && strcmp(argv[1], "--child") == 0)
        return child();
    uint32_t processes = scaled(argc, argv, 1000);
    for (uint32_t i = 0; i < processes; i++)
        sum += (uint64_t)child_run(argv[0]) * (i + 1);
    return finish(sum);
}
