/* traced.c: a program that counts its own calls, to be compared with a trace of them.
 *
 * traced plain N        one thread, N rounds of every function
 * traced threads T N    T threads, N blocks each, every one freed by the next thread
 * traced churn T        T short threads, one after the other
 * traced fork           a child that frees what it inherited, and one that execs us
 * traced signals N      a handler that allocates, N times, whenever it comes
 * traced kill N         as plain, then kill -9 by ourselves
 * traced exit N         as plain, then _exit
 *
 * Each process prints one line: `malloc=… free=… bytes=… pid=…`, calls of each function.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MALLOC, CALLOC, REALLOC, REALLOCARRAY, POSIX_MEMALIGN, ALIGNED_ALLOC, MEMALIGN, VALLOC, PVALLOC, FREE, CALLS };
static const char *const names[CALLS] = {"malloc",         "calloc",        "realloc",
                                         "reallocarray",   "posix_memalign", "aligned_alloc",
                                         "memalign",       "valloc",        "pvalloc",
                                         "free"};
static atomic_ulong made[CALLS];
static atomic_ulong bytes;

static void report(void) {
    char line[512];
    int length = 0;
    for (int i = 0; i < CALLS; i++)
        length += snprintf(line + length, sizeof line - (size_t)length, "%s=%lu ", names[i], made[i]);
    length += snprintf(line + length, sizeof line - (size_t)length, "bytes=%lu pid=%d\n", bytes, getpid());
    if (write(1, line, (size_t)length) != length)
        _exit(9);
}

static void *count(int call, void *p, size_t size) {
    made[call]++;
    bytes += size;
    if (!p)
        _exit(8);
    return p;
}

static void release(void *p) {
    made[FREE]++;
    free(p);
}

static void round_of_all(unsigned i) {
    void *p;
    release(count(MALLOC, malloc(i % 500), i % 500));
    p = count(CALLOC, calloc(3, i % 100 + 1), 3 * (size_t)(i % 100 + 1));
    p = count(REALLOC, realloc(p, i % 700 + 1), i % 700 + 1);
    release(count(REALLOCARRAY, reallocarray(p, 2, i % 90 + 1), 2 * (size_t)(i % 90 + 1)));
    if (i % 16)
        return;
    if (posix_memalign(&p, 64, 100))
        _exit(7);
    release(count(POSIX_MEMALIGN, p, 100));
    release(count(ALIGNED_ALLOC, aligned_alloc(128, 256), 256));
    release(count(MEMALIGN, memalign(4096, 10), 10));
    release(count(VALLOC, valloc(20), 20));
    release(count(PVALLOC, pvalloc(30), 30));
}

/* Each thread hands its blocks to the next through one slot: a put is also a take. */
static _Atomic(void *) slots[64];
static unsigned rounds;

static void *pass(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number * 7919 + 1;
    for (unsigned i = 0; i < rounds; i++) {
        seed = seed * 1664525 + 1013904223;
        size_t size = seed >> 16 & 255;
        void *old = atomic_exchange(&slots[seed >> 26], count(MALLOC, malloc(size), size));
        if (old)
            release(old);
    }
    return NULL;
}

static void threads(unsigned n) {
    pthread_t ids[64];
    for (unsigned i = 0; i < n; i++)
        pthread_create(&ids[i], NULL, pass, (void *)(uintptr_t)(i + 1));
    for (unsigned i = 0; i < n; i++)
        pthread_join(ids[i], NULL);
}

static void *brief(void *unused) {
    release(count(MALLOC, malloc(24), 24));
    return unused;
}

static void churn(unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        pthread_t id;
        pthread_create(&id, NULL, brief, NULL);
        pthread_join(id, NULL);
    }
}

static void forks(char *self) {
    void *inherited = count(MALLOC, malloc(77), 77);
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0 && i == 0) {
            memset(made, 0, sizeof made);
            bytes = 0;
            release(inherited);
            release(count(MALLOC, malloc(88), 88));
            report();
            _exit(0);
        }
        if (child == 0)
            execl(self, self, "plain", "10", NULL);
        waitpid(child, NULL, 0);
    }
    release(inherited);
}

static void handler(int signal) {
    (void)signal;
    release(count(CALLOC, calloc(1, 40), 40));
}

/* For a malloc that may be interrupted (shy-malloc.c), so that only the recorder is tested. */
static void signals(unsigned n) {
    struct itimerval often = {{0, 500}, {0, 500}};
    signal(SIGALRM, handler);
    setitimer(ITIMER_REAL, &often, NULL);
    while (made[CALLOC] < n)
        release(count(MALLOC, malloc(8), 8));
    often = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
}

int main(int argc, char **argv) {
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
    const char *what = argc > 1 ? argv[1] : "";
    rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
    if (!strcmp(what, "threads"))
        threads(n);
    else if (!strcmp(what, "churn"))
        churn(n);
    else if (!strcmp(what, "fork"))
        forks(argv[0]);
    else if (!strcmp(what, "signals"))
        signals(n);
    else
        for (unsigned i = 0; i < n; i++)
            round_of_all(i);
    report();
    if (!strcmp(what, "kill"))
        kill(getpid(), SIGKILL);
    if (!strcmp(what, "exit"))
        _exit(3);
    return 0;
}
