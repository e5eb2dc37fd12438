/* forged.h: shared by the programs that write into free blocks as an attacker does. Each
 * attempt runs in a child. Two outcomes are good: the malloc ends the child, or the attempt
 * has no effect.
 */
#pragma once

#include "life.h"

enum { HARMLESS = 0, FOOLED = 3, UNFIT = 4, MOST_LIVE = 8192 };

/* The child's report, in memory that it shares with its parent. */
struct outcome {
    char what[200];
    long ended, harmless, unfit;
};
static struct outcome *outcome;

UNUSED static void begin_attempts(void) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(outcome != MAP_FAILED, "no shared memory");
}

/* The blocks that the child holds. A new block must be none of them, and must not lie in
 * [wild, wild_end), which is memory of the program's own. */
static char *live[MOST_LIVE];
static size_t lives;
static char *wild, *wild_end;

__attribute__((format(printf, 1, 2), noreturn)) UNUSED static void fooled(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(outcome->what, sizeof outcome->what, format, args);
    va_end(args);
    _exit(FOOLED);
}

UNUSED static void hold(char *p, size_t size) {
    if (!p)
        return;
    if (p < wild_end && p + size > wild)
        fooled("memory that is not the malloc's was handed out");
    for (size_t i = 0; i < lives; i++)
        if (p < live[i] + size && live[i] < p + size)
            fooled("a block was handed out that overlaps a live one");
    check(lives < MOST_LIVE, "too many blocks");
    memset(p, 0x41, size < 64 ? size : 64);
    live[lives++] = p;
}

UNUSED static void let_go(char *p) {
    for (size_t i = 0; i < lives; i++)
        if (live[i] == p) {
            live[i] = live[--lives];
            free(p);
            return;
        }
    check(false, "%p is not held", (void *)p);
}

/* Runs one attempt. `name` says which it is, if malloc was deceived. */
UNUSED static void attempt(void (*run)(void), const char *name) {
    pid_t child = fork();
    if (child == 0) {
        die_after(30);
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDERR_FILENO);
        close(nowhere);
        run();
        _exit(HARMLESS);
    }
    int status = 0;
    check(child > 0 && waitpid(child, &status, 0) == child, "fork: %s", strerror(errno));
    if (WIFSIGNALED(status)) {
        int signal = WTERMSIG(status);
        check(signal == SIGABRT || signal == SIGSEGV || signal == SIGBUS, "%s: died of signal %d",
              name, signal);
        outcome->ended++;
        return;
    }
    check(WEXITSTATUS(status) != FOOLED, "%s: %s", name, outcome->what);
    check(WEXITSTATUS(status) == HARMLESS || WEXITSTATUS(status) == UNFIT, "%s: status %d", name,
          WEXITSTATUS(status));
    *(WEXITSTATUS(status) == UNFIT ? &outcome->unfit : &outcome->harmless) += 1;
}

UNUSED static void tell_attempts(size_t size) {
    long all = outcome->ended + outcome->harmless + outcome->unfit;
    say("%ld attempts with blocks of %zu bytes: %ld ended the program, %ld did nothing, %ld not made",
        all, size, outcome->ended, outcome->harmless, outcome->unfit);
    check(outcome->unfit < all, "no attempt could be made");
}
