/*
 * syscalls [-l PRELOAD] COMMAND [ARG…]: the number of system calls of a process and of all its
 * threads and children, and the memory of the first process at its end.
 *
 *     {"status":0,"calls":29,"faults":74,"resident":1384,"private":188}
 *
 * Counts from the end of exec on, by stopping at each call (ptrace). `faults` and `resident` are
 * read when the process is about to exit. `resident` is the KiB of pages present, counted one by
 * one, because getrusage only estimates; `private` are those that no file backs.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include "resident.h"

static struct { long calls, faults, resident, private; } count;

static void command_start(const char *preload, char **argv) {
    if (preload != NULL)
        setenv("LD_PRELOAD", preload, 1);
    must(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0, "ptrace");
    execvp(argv[0], argv);
    must(0, argv[0]);
}

/* Minor and major page faults so far: fields 10 and 12 of /proc/PID/stat. */
static long faults(pid_t pid) {
    char path[64], text[1024] = "";
    long minor = 0, major = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    must(file != NULL && fgets(text, sizeof text, file), path);
    fclose(file);
    sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %ld %*d %ld", &minor, &major);
    return minor + major;
}

static int is_call(pid_t pid) {
    struct __ptrace_syscall_info info;
    return ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0 &&
           info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

/* Handles one stop; returns the signal to pass on. */
static int stopped(pid_t pid, pid_t first, int status) {
    int signal = WSTOPSIG(status);
    if (signal == (SIGTRAP | 0x80)) {
        count.calls += is_call(pid);
        return 0;
    }
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8) && pid == first) {
        count.faults = faults(pid);
        count.resident = resident(pid, "Rss:");
        count.private = resident(pid, "Anonymous:");
    }
    /* The first stop of a new thread or process is ours, and so is every event. */
    return status >> 16 != 0 || signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
}

/* Follows all processes until none is left; returns the status of the first. */
static int follow(pid_t first) {
    int status, result = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFSTOPPED(status))
            ptrace(PTRACE_SYSCALL, pid, 0, stopped(pid, first, status));
        else if (pid == first)
            result = status;
    }
    return result;
}

int main(int argc, char **argv) {
    int letter, status;
    const char *preload = NULL;
    unsetenv("LD_PRELOAD");
    while ((letter = getopt(argc, argv, "+l:")) == 'l')
        preload = optarg;
    if (optind == argc)
        return 125;
    pid_t pid = fork();
    if (pid == 0)
        command_start(preload, argv + optind);
    must(pid > 0 && waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "not traced");
    must(ptrace(PTRACE_SETOPTIONS, pid, 0,
                PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXIT |
                    PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK) == 0,
         "ptrace");
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    status = follow(pid);
    printf("{\"status\":%d,\"signal\":%d,\"calls\":%ld,\"faults\":%ld,\"resident\":%ld,\"private\":"
           "%ld}\n",
           WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
           count.calls, count.faults, count.resident, count.private);
    return 0;
}
