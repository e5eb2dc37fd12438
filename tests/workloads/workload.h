/*
 * What every workload shares: draws, sections, and one line of JSON at the end.
 *
 * A workload brings the heap into the state it wants to measure, then runs one or more
 * *sections*:
 *
 *     section_begin();  ... the calls to be measured ...  section_end(calls);
 *
 * A section's CPU time is read from the process clock just inside it. With --mark, each section
 * also begins and ends with SIGUSR1, which only step.c ever sees: it counts instructions between
 * the two. The first section is empty, so that readers of the counts can subtract the cost of
 * the marks.
 *
 * SIGALRM sets `enough`: it comes from a time budget if time is measured, from step.c's own budget
 * if instructions are. (A wall-clock timer, not ITIMER_PROF: while that one runs, Linux reads the
 * process clock from a cache that is milliseconds old.) Loops look at `enough`, so that a section
 * ends early, instead of running for hours, if the malloc's cost grows; the line printed says how
 * much work was really done, and whether it was cut short.
 *
 * Nothing here calls malloc: tables come from mmap, and standard output has a static buffer.
 */
#pragma once
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SECTIONS = 8 };

static struct {
    bool mark;     /* under step.c */
    double budget; /* seconds for preparation, and again for each section; 0 = none */
    uint64_t seed;
    int sections;
    double began;
    struct {
        double seconds;
        size_t calls;
        bool cut;
    } section[SECTIONS];
} run = {.seed = 0x9e3779b97f4a7c15};

static volatile sig_atomic_t enough;

static void say_enough(int signal) {
    (void)signal;
    enough = 1;
}

/* xorshift64: a few instructions, the same numbers on every machine. */
static inline uint32_t draw(uint32_t below) {
    run.seed ^= run.seed << 13;
    run.seed ^= run.seed >> 7;
    run.seed ^= run.seed << 17;
    return (uint32_t)(((run.seed >> 32) * below) >> 32);
}

/* CPU seconds (user and system) of this process. */
static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Sets `enough` after that many seconds; 0 cancels the timer. */
static void budget_start(double seconds) {
    time_t whole = (time_t)seconds;
    struct itimerval timer = {.it_value = {whole, (suseconds_t)((seconds - (double)whole) * 1e6)}};
    enough = 0;
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* tgkill, not raise: raise would block and unblock signals inside the section. */
static void mark(void) {
    if (run.mark)
        syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
}

static void section_begin(void) {
    budget_start(run.mark ? 0 : run.budget);
    run.began = cpu_now();
    mark();
}

static void section_end(size_t calls) {
    mark();
    double seconds = cpu_now() - run.began;
    run.section[run.sections].cut = enough != 0;
    budget_start(0);
    run.section[run.sections].seconds = seconds;
    run.section[run.sections].calls = calls;
    run.sections++;
}

/* A table of n zeroed elements that the malloc under test never sees. */
static void *table_new(size_t n, size_t size) {
    void *table = mmap(NULL, n * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED) {
        perror("workload: mmap");
        exit(125);
    }
    return table;
}

/* The value after --name, or fallback. Numbers only: every option of a workload is one. */
static double option(int argc, char **argv, const char *name, double fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtod(argv[i + 1], NULL);
    return fallback;
}

/* Reads the options every workload has: --mark 0|1, --budget SECONDS, --limit MIB of address
 * space, --seed N. */
static void workload_begin(int argc, char **argv) {
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    run.mark = option(argc, argv, "--mark", 0) != 0;
    run.budget = option(argc, argv, "--budget", 0);
    run.seed ^= (uint64_t)option(argc, argv, "--seed", 0);
    struct sigaction action = {.sa_handler = say_enough, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    rlim_t limit = (rlim_t)option(argc, argv, "--limit", 0) << 20;
    if (limit > 0 && setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) != 0)
        perror("workload: setrlimit");
    section_begin();
    section_end(0);
    budget_start(run.budget);
}

/* Prints the result and ends the process; `stopped` is why a section is missing or short, or NULL.
   Names the library that provides malloc, so that the caller can check that it is the right one. */
static void workload_end(const char *stopped) {
    Dl_info info = {0};
    dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info);
    printf("{\"malloc\":\"%s\",\"sections\":[", info.dli_fname ? info.dli_fname : "");
    for (int i = 0; i < run.sections; i++)
        printf("%s{\"calls\":%zu,\"seconds\":%.9f,\"cut\":%s}", i ? "," : "", run.section[i].calls,
               run.section[i].seconds, run.section[i].cut ? "true" : "false");
    printf("],\"stopped\":%s%s%s}\n", stopped ? "\"" : "", stopped ? stopped : "null",
           stopped ? "\"" : "");
    fflush(stdout);
    _exit(0);
}
