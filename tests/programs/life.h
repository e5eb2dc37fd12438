/* life.h: shared by the life-* programs: figures of the process, which are taken without
 * the malloc under test. A program prints its figures on standard output, whether it
 * keeps its promise or not.
 */
#pragma once

#include "program.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define MIB (1L << 20)

/* A table by mmap, because a block would change what is measured. */
UNUSED static void *table(size_t count, size_t size) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *p = mmap(NULL, count * size, PROT_READ | PROT_WRITE, flags, -1, 0);
    check(p != MAP_FAILED, "no table of %zu bytes", count * size);
    return p;
}

/* A line of /proc/thread-self/status in KiB. Not of /proc/self/status, because that has no
 * memory figures once the main thread has ended. */
UNUSED static long status_kib(const char *name) {
    char text[4096];
    int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    check(got > 0, "cannot read /proc/thread-self/status");
    close(fd);
    text[got] = 0;
    char *at = strstr(text, name);
    check(at, "the kernel does not tell %s", name);
    return strtol(at + strlen(name), NULL, 10);
}

UNUSED static long resident_mib(void) { return status_kib("VmRSS:") / 1024; }
UNUSED static long addresses_mib(void) { return status_kib("VmSize:") / 1024; }

UNUSED static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

UNUSED static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

/* Processor time of this thread. It does not count while other threads run, so that a busy
 * machine does not look like a slow malloc. */
UNUSED static double own_time(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

/* `count` blocks, every byte written. */
UNUSED static void build(char **blocks, long count, size_t size) {
    for (long i = 0; i < count; i++)
        memset(blocks[i] = must_malloc(size), 1, size);
}

UNUSED static void drop(char **blocks, long count) {
    for (long i = 0; i < count; i++) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

UNUSED static void pause_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Tells the threads at the barrier that this one has done its work, and sleeps until the end. */
UNUSED static void sleep_for_ever(pthread_barrier_t *done) {
    pthread_barrier_wait(done);
    for (;;)
        pause();
}
