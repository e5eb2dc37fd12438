/*
 * What the scenarios of `bench life` share: options, blocks of drawn sizes, the memory of the
 * process, and one line of JSON at the end.
 *
 *     {"malloc":"/lib/x86_64-linux-gnu/libc.so.6",
 *      "points":[{"name":"full","resident":104857600,"live":99614720,"pages":0}]}
 *
 * `resident` is the anonymous memory that the kernel counts for the process, less what it counted
 * at life_begin (or life_restart): libraries, the first stack and our tables are not in it. `live`
 * is the sum of all sizes that were asked for and not freed. Both are in bytes.
 *
 * Every scenario has --scale S, a share of its blocks, and --pace P, a share of its waiting times.
 *
 * Nothing here calls malloc. Tables are shared mappings, which the kernel does not count as
 * anonymous, so that a resident figure is the malloc's alone.
 */
#pragma once
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "../sizes.h"

enum { POINTS = 80, POINT_ROOM = 128, MIB = 1 << 20 };

static struct {
    double scale, pace;
    size_t base; /* resident before the scenario allocated anything */
    int points;
    char text[POINTS * POINT_ROOM], latency[1024];
} life;

static inline void life_fail(const char *why)
{
    dprintf(STDERR_FILENO, "life: %s\n", why);
    _exit(1);
}

/* Anonymous memory of this process in bytes. From the thread's entry in /proc, because the process's
   is empty once the main thread has ended. */
static inline size_t anonymous(void)
{
    static char text[4096];
    int file = open("/proc/thread-self/smaps_rollup", O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    close(file);
    text[length < 0 ? 0 : length] = 0;
    char *line = strstr(text, "\nAnonymous:");
    if (line == NULL)
        life_fail("/proc/thread-self/smaps_rollup cannot be read");
    return strtoul(line + strlen("\nAnonymous:"), NULL, 10) * 1024;
}

/* Only memory that becomes resident after this call counts. For a scenario that starts threads first. */
static inline void life_restart(void) { life.base = anonymous(); }

/* A number after --name, or fallback. */
static inline double life_option(int argc, char **argv, const char *name, double fallback)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtod(argv[i + 1], NULL);
    return fallback;
}

static inline void life_begin(int argc, char **argv)
{
    life.scale = life_option(argc, argv, "--scale", 1);
    life.pace = life_option(argc, argv, "--pace", 1);
    life_restart();
}

/* A part of the full amount, as --scale says; at least `least`. */
static inline size_t scaled(size_t full, size_t least)
{
    size_t amount = (size_t)((double)full * life.scale);
    return amount < least ? least : amount;
}

/* Records resident memory while `live` bytes are live, in `pages` bytes of pages. */
static inline void point_on_pages(const char *name, size_t live, size_t pages)
{
    size_t now = anonymous();
    if (life.points == POINTS)
        life_fail("too many points");
    char *text = life.text + strlen(life.text);
    snprintf(text, POINT_ROOM, "%s{\"name\":\"%s\",\"resident\":%zu,\"live\":%zu,\"pages\":%zu}",
             life.points++ ? "," : "", name, now > life.base ? now - life.base : 0, live, pages);
}

static inline void point(const char *name, size_t live) { point_on_pages(name, live, 0); }

/* Prints the line and ends the process. Names the library that provides malloc, so that the caller
   can check that it is the right one. */
static inline void life_end(void)
{
    Dl_info info = {0};
    dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info);
    dprintf(STDOUT_FILENO, "{\"malloc\":\"%s\",\"points\":[%s]%s}\n",
            info.dli_fname ? info.dli_fname : "", life.text, life.latency);
    _exit(0);
}

/* A table of n zeroed elements that is not in any figure. */
static inline void *table_new(size_t n, size_t size)
{
    int may = PROT_READ | PROT_WRITE;
    void *table = mmap(NULL, n * size, may, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED)
        life_fail("no memory for a table");
    return table;
}

static inline double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void nap(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) != 0)
        ;
}

/* Waits for so many seconds, or for the share of them that --pace says. */
static inline void rest(double seconds) { nap(seconds * life.pace); }

/* A block that remembers its size and is written as a whole. */
struct block {
    uint32_t size;
};

static inline struct block *block_new(size_t size)
{
    if (size < sizeof(struct block))
        size = sizeof(struct block);
    struct block *block = malloc(size);
    if (block == NULL)
        life_fail("out of memory");
    memset(block, 1, size);
    block->size = (uint32_t)size;
    return block;
}

/* Frees a block and returns its size. */
static inline size_t block_end(struct block *block)
{
    size_t size = block->size;
    free(block);
    return size;
}

/* Many blocks of drawn sizes. */
struct heap {
    struct block **block;
    size_t blocks, most, live;
    uint64_t seed;
};

/* Makes a table for `bytes` of blocks, whose mean size is at least 32 bytes. */
static inline struct heap heap_new(size_t bytes, uint64_t seed)
{
    size_t most = bytes / 32 + 64;
    struct heap heap = {.block = table_new(most, sizeof *heap.block), .most = most};
    heap.seed = (seed + 1) * 0x9e3779b97f4a7c15;
    return heap;
}

/* Allocates until `bytes` are live; after heap_drop, blocks of the same sizes again. */
static inline void heap_fill(struct heap *heap, size_t bytes)
{
    uint64_t seed = heap->seed;
    while (heap->live < bytes && heap->blocks < heap->most) {
        struct block *block = block_new(size_drawn(&seed));
        heap->live += block->size;
        heap->block[heap->blocks++] = block;
    }
}

/* Fisher-Yates: the order in which blocks will be freed. */
static inline void heap_shuffle(struct heap *heap)
{
    uint64_t seed = heap->seed + 1;
    for (size_t i = heap->blocks; i > 1; i--) {
        size_t k = draw(&seed, (uint32_t)i);
        struct block *other = heap->block[k];
        heap->block[k] = heap->block[i - 1];
        heap->block[i - 1] = other;
    }
}

/* Frees blocks from the end of the table until `keep` are left. */
static inline void heap_drop(struct heap *heap, size_t keep)
{
    while (heap->blocks > keep)
        heap->live -= block_end(heap->block[--heap->blocks]);
}

/* Starts a thread with a small stack, so that hundreds of threads use little memory themselves. */
static inline pthread_t thread_new(void *(*body)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    if (pthread_create(&thread, &attributes, body, argument) != 0)
        life_fail("no thread");
    pthread_attr_destroy(&attributes);
    return thread;
}
