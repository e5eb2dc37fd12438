/* endings.c: children that end in ways that skip destructors: _exit, kill, abort, exec. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void child(const char *ending, const char *self) {
    free(malloc(100));
    if (strcmp(ending, "_exit") == 0)
        _exit(0);
    if (strcmp(ending, "kill") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(ending, "segv") == 0)
        raise(SIGSEGV);
    execl(self, self, "leaf", (char *)NULL);
}

int main(int argc, char **argv) {
    if (argc > 1)
        _exit(0);
    const char *endings[] = {"_exit", "kill", "segv", "exec"};
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        if (pid == 0)
            child(endings[i], argv[0]);
        int status;
        waitpid(pid, &status, 0);
        printf("%d\n", (int)pid);
    }
    fflush(stdout);
    _exit(0);
}
