/* program.h: what the test programs share. Each program tests one promise of malloc. It
 * ends with status 0 if the promise was kept, otherwise with 1 and one line that says what
 * was broken. LD_PRELOAD puts any malloc under them.
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* Allocates nothing, because it may report a failure of malloc. */
__attribute__((noreturn, format(printf, 3, 4))) static void
broken(const char *file, int line, const char *format, ...) {
    char text[512];
    int length = snprintf(text, sizeof text, "%s:%d: ", file, line);
    va_list args;
    va_start(args, format);
    length += vsnprintf(text + length, sizeof text - (size_t)length - 1, format, args);
    va_end(args);
    if (length > (int)sizeof text - 2)
        length = sizeof text - 2;
    text[length++] = '\n';
    if (write(STDERR_FILENO, text, (size_t)length) < 0) { /* the exit status still tells */
    }
    _exit(1);
}

/* check(p != NULL, "malloc(%zu) failed", size) */
#define check(condition, ...) ((condition) ? (void)0 : broken(__FILE__, __LINE__, __VA_ARGS__))

/* The file in which the dynamic linker finds a function. */
UNUSED static const char *provider(const char *name) {
    Dl_info found;
    void *address = dlsym(RTLD_DEFAULT, name);
    return address && dladdr(address, &found) ? found.dli_fname : "nobody";
}

/* Checks that the malloc in use comes from the file that the test preloaded. Otherwise the
 * program would test libc's. */
__attribute__((constructor)) static void malloc_under_test(void) {
    const char *wanted = getenv("MALLOC_UNDER_TEST");
    if (wanted && *wanted)
        check(!strcmp(provider("malloc"), wanted), "malloc comes from %s, not from %s",
              provider("malloc"), wanted);
}

/* ── what `libmalloc check` has found this malloc to lack ──────────────────── */

/* Is the word in CHECK_LACKS, a list with commas? The words are those of scripts/check/needs.ts.
 * One case reports what is lacking; the other programs then do without it. */
UNUSED static bool lacks(const char *word) {
    const char *list = getenv("CHECK_LACKS");
    size_t length = strlen(word);
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (!strncmp(at, word, length) && (!at[length] || at[length] == ','))
            return true;
    return false;
}

/* Read once, so that a loop may ask. */
static struct {
    bool usable, errno_kept, enomem, cleared, copied;
    size_t alignment;
} given;

__attribute__((constructor)) static void ask_what_is_given(void) {
    const char *alignment = getenv("CHECK_ALIGNMENT");
    given.usable = !lacks("malloc_usable_size");
    given.errno_kept = !lacks("errno");
    given.enomem = !lacks("enomem");
    given.cleared = !lacks("calloc");
    given.copied = !lacks("realloc");
    given.alignment = alignment ? strtoul(alignment, NULL, 10) : 16;
}

/* The usable size; the size asked for, if the malloc's own function is absent or wrong. */
UNUSED static size_t usable_size(void *p, size_t asked) {
    return given.usable ? malloc_usable_size(p) : asked;
}

/* Did free keep errno? */
UNUSED static bool errno_kept(int before) {
    return errno == before || !given.errno_kept;
}

/* memalign; an ordinary block if the malloc has no memalign. */
UNUSED static void *memalign_if_any(size_t alignment, size_t size) {
    return lacks("memalign") ? malloc(size) : memalign(alignment, size);
}

/* Is errno ENOMEM, as it should be after a refusal? */
UNUSED static bool says_enomem(void) {
    return errno == ENOMEM || !given.enomem;
}

/* The n-th number of the command line, or what it is by default. */
UNUSED static long argument(int argc, char **argv, int n, long otherwise) {
    return n < argc ? strtol(argv[n], NULL, 10) : otherwise;
}

/* ── patterns that tell whether a block was changed ────────────────────────── */

static unsigned char pattern(const void *p, uint64_t seed, size_t i) {
    return (unsigned char)((((uintptr_t)p >> 4) ^ seed * 131) + i * 7 + 1);
}

/* Writes a pattern that depends on the address and on `seed`. */
UNUSED static void fill(void *p, size_t size, uint64_t seed) {
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)p)[i] = pattern(p, seed, i);
}

/* Is the pattern written at `origin` still what the first `size` bytes of `p` hold? */
UNUSED static void check_bytes(const void *p, const void *origin, size_t size, uint64_t seed) {
    for (size_t i = 0; i < size; i++)
        check(((const unsigned char *)p)[i] == pattern(origin, seed, i),
              "byte %zu of %zu at %p is no longer what was written there", i, size, p);
}

UNUSED static void check_filled(const void *p, size_t size, uint64_t seed) {
    check_bytes(p, p, size, seed);
}

/* The same after a realloc from `origin` to `p`. */
UNUSED static void check_moved(const void *p, const void *origin, size_t size, uint64_t seed) {
    if (given.copied)
        check_bytes(p, origin, size, seed);
}

UNUSED static void check_zero(const void *p, size_t size) {
    for (size_t i = 0; i < size && given.cleared; i++)
        check(((const unsigned char *)p)[i] == 0, "byte %zu of %zu at %p is not zero", i, size, p);
}

/* C demands alignment for any object that fits: 16 bytes for blocks of 16 bytes or more. */
UNUSED static void check_aligned(const void *p, size_t size) {
    size_t alignment = given.alignment;
    while (alignment > 1 && alignment > size)
        alignment /= 2;
    check((uintptr_t)p % alignment == 0, "%p (%zu bytes) is not aligned to %zu", p, size, alignment);
}

UNUSED static void *must_malloc(size_t size) {
    void *p = malloc(size);
    check(p || size == 0, "malloc(%zu) failed", size);
    check_aligned(p, size);
    return p;
}

/* Prints a line on standard output without allocating; even dprintf may allocate. */
__attribute__((format(printf, 1, 2))) UNUSED static void say(const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text - 1, format, args);
    va_end(args);
    text[length++] = '\n';
    if (write(STDOUT_FILENO, text, (size_t)length) < 0) { /* it is closed */
    }
}

/* ── random numbers ────────────────────────────────────────────────────────── */

/* xorshift64*: each thread has a state of its own, so that threads do not share one. */
UNUSED static uint64_t chance(uint64_t *state) {
    if (!*state)
        *state = 0x9e3779b97f4a7c15;
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

UNUSED static size_t chance_below(uint64_t *state, size_t limit) {
    return (size_t)(chance(state) >> 11) % limit;
}

/* Mostly small, sometimes large, from 0 to limit. */
UNUSED static size_t chance_size(uint64_t *state, size_t limit) {
    size_t cap = limit >> chance_below(state, 12);
    return chance_below(state, cap + 1);
}

/* ── memory ────────────────────────────────────────────────────────────────── */

/* Resident memory of this process. Without a FILE, which would allocate; not from statm, which
 * counts in pages of the kernel: an emulator's pages may be larger. */
UNUSED static long resident_kib(void) {
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && read(fd, text, sizeof text - 1) > 0, "cannot read /proc/self/status");
    close(fd);
    char *resident = strstr(text, "\nVmRSS:");
    return resident ? strtol(resident + strlen("\nVmRSS:"), NULL, 10) : 0;
}

/* ── threads and children ──────────────────────────────────────────────────── */

UNUSED static pthread_t start(void *(*run)(void *), void *arg) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, arg);
    check(!error, "pthread_create: %s", strerror(error));
    return thread;
}

UNUSED static void join(pthread_t thread) {
    int error = pthread_join(thread, NULL);
    check(!error, "pthread_join: %s", strerror(error));
}

/* Runs `run` in that many threads at once, each given its number, until all have ended. */
UNUSED static void run_threads(long threads, void *(*run)(void *)) {
    pthread_t ids[64];
    check(threads <= 64, "64 threads at most");
    for (long i = 0; i < threads; i++)
        ids[i] = start(run, (void *)i);
    for (long i = 0; i < threads; i++)
        join(ids[i]);
}

/* The signals by which children end, by name: strsignal may allocate. */
UNUSED static const char *signal_name(int number) {
    static const struct {
        int number;
        const char *name;
    } known[] = {{SIGSEGV, "SIGSEGV"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"}, {SIGILL, "SIGILL"},
                 {SIGFPE, "SIGFPE"},   {SIGTRAP, "SIGTRAP"}, {SIGSYS, "SIGSYS"}, {SIGKILL, "SIGKILL"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].number == number)
            return known[i].name;
    return "a signal";
}

/* Says in words how a child ended, unless it ended with `wanted`. */
UNUSED static void check_ended(int status, int wanted, const char *what) {
    check(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM, "a child hung (%s)", what);
    check(!WIFSIGNALED(status), "a child died of %s (%s)", signal_name(WTERMSIG(status)), what);
    check(WEXITSTATUS(status) == wanted, "a child ended with status %d, not %d (%s)",
          WEXITSTATUS(status), wanted, what);
}

/* Waits for a child that should end with status 0; `what` says what it was about. */
UNUSED static void check_child(pid_t child, const char *what) {
    int status = 0;
    check(child > 0, "fork (%s): %s", what, strerror(errno));
    while (waitpid(child, &status, 0) < 0)
        check(errno == EINTR, "waitpid (%s): %s", what, strerror(errno));
    check_ended(status, 0, what);
}

/* In a child: ends it by SIGALRM unless it is done within that many seconds. Give it plenty
 * of them, because the machine may be busy; this is only to detect hangs. */
extern void witness(int) __attribute__((weak)); /* witness.c says where it hung */
UNUSED static void die_after(unsigned seconds) {
    signal(SIGALRM, witness ? witness : SIG_DFL);
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(seconds);
}

/* Forks; the child allocates and ends. */
UNUSED static void check_fork(const char *what) {
    pid_t child = fork();
    if (child == 0) {
        die_after(30);
        free(must_malloc(1000));
        _exit(0);
    }
    check_child(child, what);
}
