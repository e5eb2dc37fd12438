/* layout.c: a preload library for `libmalloc layout -- CMD`: holds the program at its end.
 *
 * After the program's work and before its teardown, the process stops itself (SIGSTOP);
 * its parent reads its memory from outside and resumes it (SIGCONT). Only the process
 * whose parent's pid is in LIBMALLOC_LAYOUT does so, not its own children.
 *
 * The end is a destructor, behind those of the program, or a call of _exit, which
 * skips destructors. Programs that end by a signal are not held.
 *
 * By hand: cc -O2 -fPIC -shared -o libmalloc-layout.so native/tools/layout.c
 */
#include "../base/platform.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* As it was at the start: a forked child has another pid, and a program may change its environment. */
static pid_t held;
static atomic_int stopped; /* riscv64 has no instruction to swap less */

__attribute__((constructor)) static void layout_start(void) {
    const char *parent = secure_getenv("LIBMALLOC_LAYOUT");
    if (parent && atoi(parent) == getppid())
        held = getpid();
}

__attribute__((destructor)) static void layout_stop(void) {
    int saved = errno;
    if (held && held == getpid() && !atomic_exchange(&stopped, 1))
        kill(held, SIGSTOP);
    errno = saved;
}

EXPORT _Noreturn void _exit(int status) {
    layout_stop();
    for (;;)
        syscall(SYS_exit_group, status);
}

EXPORT _Noreturn void _Exit(int status) { _exit(status); }
