// Allocates in ways that a profiler has to tell apart, each in a function of its own, and prints what
// each of them did: `NAME bytes blocks`. The first argument says how often to do it all; `fork`
// after it lets a child leak and end by _exit, `kill` ends everything by SIGKILL, `signal` asks for
// a snapshot between two halves.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define APART __attribute__((noinline))

enum { LEAKS = 300, LEAK = 1000, PEAK = 200, PEAKS = 10000, SHORT = 4096, SHORTS = 500 };

static void *volatile kept;
static char said[4096];
static size_t length;

// Kept in memory until the end, because stdio allocates.
static void say(const char *name, size_t bytes, size_t blocks) {
    length += (size_t)snprintf(said + length, sizeof said - length, "%s %zu %zu\n", name, bytes, blocks);
}

static APART void leaks(int times) {
    for (int i = 0; i < LEAKS * times; i++)
        kept = malloc(LEAK);
}

static APART void **piles(void) {
    static void *pile[PEAK];
    for (int i = 0; i < PEAK; i++)
        pile[i] = calloc(10, PEAKS / 10);
    return pile;
}

static APART void shorts(int times) {
    for (int i = 0; i < SHORTS * times; i++) {
        kept = malloc(SHORT);
        free(kept);
    }
}

// Two blocks that end in the order of their beginning: only the second is short-lived.
static APART void pairs(void) {
    void *a = malloc(3000), *b = malloc(3000);
    free(a);
    free(b);
}

static APART void *grows(void) {
    char *p = NULL;
    for (size_t size = 100; size <= 100000; size *= 10)
        p = realloc(p, size);
    return p;
}

// realloc that cannot be: the block lives on.
static APART void *refused(void *p) {
    void *q = realloc(p, (size_t)-1 >> 1);
    return q ? q : p;
}

static APART void *elsewhere(void *p) {
    free(p);
    return NULL;
}

static APART void hands_over(void) {
    pthread_t thread;
    void *p = malloc(5000);
    if (pthread_create(&thread, NULL, elsewhere, p) == 0)
        pthread_join(thread, NULL);
}

static APART void inherits(int times) {
    if (fork() == 0) {
        for (int i = 0; i < 7 * times; i++)
            kept = malloc(2000);
        _exit(0);
    }
    wait(NULL);
}

int main(int argc, char **argv) {
    int times = argc > 1 ? atoi(argv[1]) : 1;
    const char *then = argc > 2 ? argv[2] : "";
    leaks(times);
    void **pile = piles();
    if (strcmp(then, "signal") == 0)
        raise(SIGUSR1);
    free(malloc(1)); // so that the last of the pile is not short-lived
    for (int i = 0; i < PEAK; i++)
        free(pile[i]);
    shorts(times);
    pairs();
    void *volatile grown = refused(grows());
    hands_over();
    if (strcmp(then, "fork") == 0)
        inherits(times);
    say("leaks", (size_t)LEAKS * LEAK * (size_t)times, (size_t)LEAKS * (size_t)times);
    say("piles", (size_t)PEAK * PEAKS, PEAK);
    say("shorts", (size_t)SHORTS * SHORT * (size_t)times, (size_t)SHORTS * (size_t)times);
    say("pairs", 6000, 2);
    say("grows", 111100, 4);
    say("hands_over", 5000, 1);
    if (write(STDOUT_FILENO, said, length) < 0)
        return 1;
    if (strcmp(then, "kill") == 0)
        kill(getpid(), SIGKILL);
    return grown ? 0 : 1;
}
