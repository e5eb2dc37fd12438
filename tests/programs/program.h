/* program.h: what the test programs share. Each program makes one promise about
 * malloc and ends with status 0 when it was kept, otherwise with 1 and one line
 * that says what was broken. Any malloc can be put under them with LD_PRELOAD.
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

/* Allocates nothing: what it reports may be malloc's own failure. */
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
    if (write(STDERR_FILENO, text, (size_t)length) < 0) { /* the status says it too */
    }
    _exit(1);
}

/* check(p != NULL, "malloc(%zu) failed", size) */
#define check(condition, ...) ((condition) ? (void)0 : broken(__FILE__, __LINE__, __VA_ARGS__))

/* The file that defines a function, for whoever asks the dynamic linker. */
UNUSED static const char *provider(const char *name) {
    Dl_info found;
    void *address = dlsym(RTLD_DEFAULT, name);
    return address && dladdr(address, &found) ? found.dli_fname : "nobody";
}

/* The test names the file that it meant to preload: a malloc that is not in use would
 * keep every promise and prove nothing. */
__attribute__((constructor)) static void malloc_under_test(void) {
    const char *wanted = getenv("MALLOC_UNDER_TEST");
    if (wanted && *wanted)
        check(!strcmp(provider("malloc"), wanted), "malloc comes from %s, not from %s",
              provider("malloc"), wanted);
}

/* ── what `libmalloc check` has found this malloc to lack ──────────────────── */

/* Is the word in CHECK_LACKS, a list with commas? The words are those of scripts/check/needs.ts.
 * What is lacking is said once, by its own case; the other programs go on without it. */
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

/* The usable size; what was asked for where the malloc's own function is absent or untrue. */
UNUSED static size_t usable_size(void *p, size_t asked) {
    return given.usable ? malloc_usable_size(p) : asked;
}

/* Is errno still what it was before a free? */
UNUSED static bool errno_kept(int before) {
    return errno == before || !given.errno_kept;
}

/* memalign; an ordinary block where the malloc has none. */
UNUSED static void *memalign_if_any(size_t alignment, size_t size) {
    return lacks("memalign") ? malloc(size) : memalign(alignment, size);
}

/* Does errno say why there is no memory? */
UNUSED static bool says_enomem(void) {
    return errno == ENOMEM || !given.enomem;
}

/* The n-th number of the command line, or what it is by default. */
UNUSED static long argument(int argc, char **argv, int n, long otherwise) {
    return n < argc ? strtol(argv[n], NULL, 10) : otherwise;
}

/* ── blocks that say whose they are ────────────────────────────────────────── */

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

/* C asks for the alignment of any object that fits: 16 bytes from 16 bytes on. */
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

/* A line on standard output, by the only means that never allocate: not even by dprintf. */
__attribute__((format(printf, 1, 2))) UNUSED static void say(const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text - 1, format, args);
    va_end(args);
    text[length++] = '\n';
    if (write(STDOUT_FILENO, text, (size_t)length) < 0) { /* nobody listens */
    }
}

/* ── chance ────────────────────────────────────────────────────────────────── */

/* xorshift64*: a state for each thread, so that threads do not meet in it. */
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

/* Resident memory of this process. Reads without a FILE, which would allocate; and not statm, which
 * counts the kernel's pages: those of an emulator may be larger. */
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

/* How a child ended, in words, unless it ended with `wanted`. */
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

/* In a child: ends it by SIGALRM unless it is done within that many seconds. Hangs
 * are what this is for, so be generous: the machine may be busy. */
extern void witness(int) __attribute__((weak)); /* witness.c says where it hung */
UNUSED static void die_after(unsigned seconds) {
    signal(SIGALRM, witness ? witness : SIG_DFL);
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(seconds);
}
