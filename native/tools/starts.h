/* starts.h: notes the programs that a process starts, or becomes by exec.
 *
 * A program that no preload reached cannot report that itself: its environment was cleared
 * (`env -i`), or it is static. The process that starts it can, because it still has the probe.
 * So the probe replaces exec and its relatives, notes program and environment, and calls the
 * C library's. Some of these run in a vfork child, in its parent's memory, or after a fork of
 * a program with threads, so nothing here allocates, locks, or writes to static variables.
 *
 * Not seen: raw system calls (Go), and `system` of a C library that was linked statically.
 */
#pragma once

#include "../base/report.h"

#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

/* LD_PRELOAD as this process got it. */
static char preload[8 * REPORT_PATH];

/* Looked up at the start: dlsym takes a lock, which a forked child may find locked for ever. */
static struct {
    __typeof__(&execve) execve;
    __typeof__(&execvpe) execvpe;
    __typeof__(&fexecve) fexecve;
    __typeof__(&posix_spawn) posix_spawn;
    __typeof__(&posix_spawnp) posix_spawnp;
    __typeof__(&system) system;
    __typeof__(&popen) popen;
} next;

#define LOOK_UP(name) (next.name = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* Each of our functions may be called before our constructor, by other libraries' constructors. */
static void starts_look_up(void) {
    if (next.popen)
        return;
    LOOK_UP(execve);
    LOOK_UP(execvpe);
    LOOK_UP(fexecve);
    LOOK_UP(posix_spawn);
    LOOK_UP(posix_spawnp);
    LOOK_UP(system);
    LOOK_UP(popen);
}

static void starts_open(void) {
    const char *value = getenv("LD_PRELOAD");
    if (value && strlen(value) < sizeof preload)
        strcpy(preload, value);
    starts_look_up();
}

static enum report_start kind_of(char *const *environment) {
    for (; environment && *environment; environment++)
        if (strncmp(*environment, "LD_PRELOAD=", 11) == 0)
            return strstr(*environment + 11, preload) ? REPORT_KEPT : REPORT_CLEARED;
    return REPORT_CLEARED;
}

/* One write, because several processes append to the file at once. */
static void note(enum report_start kind, pid_t pid, const char *program) {
    char path[REPORT_PATH + 32], line[4 * REPORT_PATH];
    int saved = errno;
    int length = snprintf(line, sizeof line, "%c%ld %s\n%s", kind, (long)pid,
                          program_invocation_short_name, program ? program : "");
    if (*prefix && length < (int)sizeof line &&
        snprintf(path, sizeof path, "%s-starts", prefix) < (int)sizeof path) {
        int fd = open_beyond_stderr(path, O_APPEND);
        if (fd >= 0 && write(fd, line, (size_t)length + 1) < 0) { /* then nobody will know */
        }
        if (fd >= 0)
            close(fd);
    }
    errno = saved;
}

/* exec has returned, so it failed. */
static int note_failed(const char *program) {
    note(REPORT_FAILED, getpid(), program);
    return -1;
}

/* ── exec ──────────────────────────────────────────────────────────────────── */

PUBLIC int execve(const char *path, char *const argv[], char *const envp[]) {
    starts_look_up();
    note(kind_of(envp), getpid(), path);
    next.execve(path, argv, envp);
    return note_failed(path);
}

PUBLIC int execvpe(const char *file, char *const argv[], char *const envp[]) {
    starts_look_up();
    note(kind_of(envp), getpid(), file);
    next.execvpe(file, argv, envp);
    return note_failed(file);
}

PUBLIC int fexecve(int fd, char *const argv[], char *const envp[]) {
    char link[32], program[REPORT_PATH];
    starts_look_up();
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, program, sizeof program - 1);
    program[length > 0 ? length : 0] = 0;
    note(kind_of(envp), getpid(), program);
    next.fexecve(fd, argv, envp);
    return note_failed(program);
}

PUBLIC int execv(const char *path, char *const argv[]) {
    return execve(path, argv, environ);
}

PUBLIC int execvp(const char *file, char *const argv[]) {
    return execvpe(file, argv, environ);
}

/* The number of arguments up to NULL, `first` included. */
static size_t count_arguments(const char *first, va_list *rest) {
    size_t count = first ? 1 : 0;
    while (first && va_arg(*rest, char *))
        count++;
    return count;
}

/* Fills argv, which has room for them and NULL. */
static void collect_arguments(char **argv, const char *first, va_list *rest) {
    *argv = (char *)(uintptr_t)first;
    while (*argv)
        *++argv = va_arg(*rest, char *);
}

/* Declares `argv`, on the caller's stack because a vfork child must not allocate, and `rest`. */
#define ARGUMENTS(first)                           \
    va_list rest;                                  \
    va_start(rest, first);                         \
    char *argv[count_arguments(first, &rest) + 1]; \
    va_end(rest);                                  \
    va_start(rest, first);                         \
    collect_arguments(argv, first, &rest)

PUBLIC int execl(const char *path, const char *first, ...) {
    ARGUMENTS(first);
    va_end(rest);
    return execve(path, argv, environ);
}

PUBLIC int execlp(const char *file, const char *first, ...) {
    ARGUMENTS(first);
    va_end(rest);
    return execvpe(file, argv, environ);
}

PUBLIC int execle(const char *path, const char *first, ...) {
    ARGUMENTS(first);
    char *const *envp = va_arg(rest, char *const *);
    va_end(rest);
    return execve(path, argv, envp);
}

/* ── spawn, and functions that start a shell ────────────────────────────────────────── */

static int spawn(__typeof__(&posix_spawn) function, pid_t *pid, const char *file,
                 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                 char *const argv[], char *const envp[]) {
    pid_t child = 0;
    int result = function(&child, file, actions, attributes, argv, envp);
    if (result == 0)
        note(kind_of(envp), child, file);
    if (result == 0 && pid)
        *pid = child;
    return result;
}

PUBLIC int posix_spawn(pid_t *restrict pid, const char *restrict path,
                       const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                       char *const envp[restrict]) {
    starts_look_up();
    return spawn(next.posix_spawn, pid, path, actions, attributes, argv, envp);
}

PUBLIC int posix_spawnp(pid_t *restrict pid, const char *restrict file,
                        const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                        char *const envp[restrict]) {
    starts_look_up();
    return spawn(next.posix_spawnp, pid, file, actions, attributes, argv, envp);
}

PUBLIC int system(const char *command) {
    starts_look_up();
    if (command)
        note(kind_of(environ), 0, "/bin/sh");
    return next.system(command);
}

PUBLIC FILE *popen(const char *command, const char *mode) {
    starts_look_up();
    note(kind_of(environ), 0, "/bin/sh");
    return next.popen(command, mode);
}
