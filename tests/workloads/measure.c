/*
 * measure [-l PRELOAD] [-n TIMES] [-v MIB] COMMAND [ARG…]: what a command and all its descendants
 * cost.
 *
 *     {"status":0,"signal":0,"runs":1,"user":0.61,"system":0.02,"wall":0.63,"peak":2260,
 *      "minor":151,"major":0,"bytes":17,"digest":"c4a1…"}
 *
 * Seconds, KiB, page faults. `bytes` and `digest` are of the command's standard output, which is
 * read here, so that each measured run is also checked; standard error is passed on. -n runs it
 * that many times, one after the other, and adds up; -v limits its address space.
 *
 * Peak memory is the reason for this program. Linux counts it from before the exec: the child of a
 * large process begins with its parent's peak, so a child of node would never have less than
 * 50 MiB. So this program is static and small, and LD_PRELOAD, which it sets for the command, does
 * not affect it. And since the kernel keeps a count on each CPU and adds these up now and then, its
 * figure misses some hundred KiB, half of a small process. So the pages are counted once more,
 * exactly, when the command is about to exit (ptrace, where allowed; only the exit and signals stop
 * the process).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "resident.h"

extern char **environ;

static struct {
    int status;
    double user, system;
    long peak, minor, major;
    uint64_t bytes, digest;
} total = {.digest = 0xcbf29ce484222325};

/* FNV-1a. Returns the number of bytes read: 0 at the end of the output, -1 if there are none yet. */
static ssize_t output_read(int from) {
    static unsigned char buffer[1 << 16];
    ssize_t n = read(from, buffer, sizeof buffer);
    for (ssize_t i = 0; i < n; i++)
        total.digest = (total.digest ^ buffer[i]) * 0x100000001b3;
    if (n > 0)
        total.bytes += (uint64_t)n;
    return n;
}

/* Passes on standard error through a pipe, so that background children do not keep ours open. */
static ssize_t errors_read(int from) {
    static char text[1 << 12];
    ssize_t n = read(from, text, sizeof text);
    return n > 0 ? write(STDERR_FILENO, text, (size_t)n) : n;
}

/* Spawns without a copy of our memory, so that only exec is added to the cost. */
static pid_t command_start(char **argv, int out, int errors) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    errno = posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environ);
    must(errno == 0, argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXIT);
    return pid;
}

static void peak_is(long kib) {
    total.peak = kib > total.peak ? kib : total.peak;
}

/* The traced process has stopped: at its exit, or before a signal is delivered to it. */
static void stopped(pid_t pid, int status) {
    int event = status >> 16, signal = WSTOPSIG(status);
    if (event == PTRACE_EVENT_EXIT)
        peak_is(resident(pid, "Rss:"));
    if (event == PTRACE_EVENT_STOP && signal != SIGTRAP)
        ptrace(PTRACE_LISTEN, pid, 0, 0);
    else
        ptrace(PTRACE_CONT, pid, 0, event ? 0 : signal);
}

static double seconds(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

/* Waits for events of the command, and of descendants that no other process waits for; returns
   whether the command has ended. */
static int hear(pid_t command) {
    int status, ended = 0;
    struct rusage usage;
    for (pid_t pid; (pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0;) {
        if (WIFSTOPPED(status)) {
            stopped(pid, status);
            continue;
        }
        total.user += seconds(usage.ru_utime);
        total.system += seconds(usage.ru_stime);
        total.minor += usage.ru_minflt;
        total.major += usage.ru_majflt;
        peak_is(usage.ru_maxrss);
        if (pid != command)
            continue;
        total.status = status;
        ended = 1;
    }
    return ended;
}

/* A pipe whose end we read without blocking. */
static void pipe_make(int ends[2]) {
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    must(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0, "fcntl");
}

/* Reads until the command has ended, not until the pipes are closed, because its background children
 * may keep them open. */
static void command_run(char **argv, int signals) {
    int out[2], errors[2], ended = 0;
    pipe_make(out);
    pipe_make(errors);
    pid_t pid = command_start(argv, out[1], errors[1]);
    close(out[1]);
    close(errors[1]);
    struct pollfd all[] = {{.fd = out[0], .events = POLLIN},
                           {.fd = errors[0], .events = POLLIN},
                           {.fd = signals, .events = POLLIN}};
    while (!ended) {
        struct signalfd_siginfo heard;
        must(poll(all, 3, -1) > 0, "poll");
        if (all[0].revents != 0 && output_read(out[0]) == 0)
            all[0].fd = -1;
        if (all[1].revents != 0 && errors_read(errors[0]) == 0)
            all[1].fd = -1;
        if (all[2].revents != 0 && read(signals, &heard, sizeof heard) > 0)
            ended = hear(pid);
    }
    while (output_read(out[0]) > 0) {
    }
    while (errors_read(errors[0]) > 0) {
    }
    close(out[0]);
    close(errors[0]);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void result_print(long runs, double wall) {
    int status = total.status;
    printf("{\"status\":%d,\"signal\":%d,\"runs\":%ld,\"user\":%.6f,\"system\":%.6f,\"wall\":%.6f,"
           "\"peak\":%ld,\"minor\":%ld,\"major\":%ld,\"bytes\":%llu,\"digest\":\"%016llx\"}\n",
           WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
           runs, total.user, total.system, wall, total.peak, total.minor, total.major,
           (unsigned long long)total.bytes, (unsigned long long)total.digest);
}

int main(int argc, char **argv) {
    long times = 1, done = 0;
    unsetenv("LD_PRELOAD");
    for (int letter; (letter = getopt(argc, argv, "+l:n:v:")) != -1;) {
        rlim_t limit = letter == 'v' ? strtoul(optarg, NULL, 10) << 20 : 0;
        if (letter == 'l')
            setenv("LD_PRELOAD", optarg, 1);
        else if (letter == 'n')
            times = strtol(optarg, NULL, 10);
        else if (letter != 'v' || setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) != 0)
            return 125;
    }
    if (optind == argc)
        return 125;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    int signals = signalfd(-1, &child, SFD_CLOEXEC);
    must(signals >= 0, "signalfd");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    double start = now();
    while (done < times && total.status == 0) {
        command_run(argv + optind, signals);
        done++;
    }
    result_print(done, now() - start);
    return 0;
}
