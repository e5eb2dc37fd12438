/*
 * What the workloads that are measured as whole processes share: options, threads, blocks that
 * show whether they were changed, and the checksum, which is all that they print.
 *
 * The checksum depends on the arguments only. A malloc that hands out memory twice, or loses
 * some of a block's bytes, prints another one.
 *
 * Tables of pointers are static, so that the memory a run needs is the malloc's and not ours.
 */
#pragma once
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sizes.h"

enum { THREADS = 64 };

/* The word after --name, or fallback. */
static inline const char *option(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return fallback;
}

static inline uint32_t option_number(int argc, char **argv, const char *name, uint32_t fallback)
{
    const char *word = option(argc, argv, name, NULL);
    return word ? (uint32_t)strtoul(word, NULL, 10) : fallback;
}

/* A part of the full amount of work (or of live blocks), as --scale says; at least 1. */
static inline uint32_t scaled(int argc, char **argv, uint32_t full)
{
    double amount = (double)full * strtod(option(argc, argv, "--scale", "1"), NULL);
    return amount < 1 ? 1 : (uint32_t)amount;
}

static inline void *must_have(void *memory)
{
    if (memory == NULL) {
        fputs("workload: out of memory\n", stderr);
        _Exit(1);
    }
    return memory;
}

/* The beginning of every block; the block's last byte is written as well. No block is smaller. */
struct block {
    uint32_t size, key;
};

static inline struct block *block_new(uint32_t size, uint32_t key)
{
    if (size < sizeof(struct block))
        size = sizeof(struct block);
    struct block *block = (struct block *)must_have(malloc(size));
    ((char *)block)[size - 1] = (char)size;
    block->size = size;
    block->key = key * 0x9e3779b1;
    return block;
}

/* Returns what a block adds to the checksum: all that was written into it. */
static inline uint64_t block_sum(const struct block *block)
{
    return (uint64_t)block->size * block->key + ((const unsigned char *)block)[block->size - 1];
}

static inline uint64_t block_end(struct block *block)
{
    uint64_t sum = block_sum(block);
    free(block);
    return sum;
}

/* One thread of a workload. Workers lie two cache lines apart, so that none slows another down. */
struct worker {
    uint32_t index;
    uint64_t seed, sum;
    void (*body)(struct worker *);
    pthread_t thread;
} __attribute__((aligned(128)));

static inline void *worker_main(void *worker)
{
    ((struct worker *)worker)->body((struct worker *)worker);
    return NULL;
}

static inline void worker_start(struct worker *worker, uint32_t index,
                                void (*body)(struct worker *))
{
    worker->index = index;
    worker->seed = (index + 1) * 0x9e3779b97f4a7c15;
    worker->sum = 0;
    worker->body = body;
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
        must_have(NULL);
}

/* The worker's share of the checksum, when it has ended. */
static inline uint64_t worker_end(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    return worker->sum;
}

/* Runs `body` in that many threads at once, and returns the sum of their sums. A single one runs in
   the main thread, so that the program starts none. */
static inline uint64_t workers_run(uint32_t threads, void (*body)(struct worker *))
{
    static struct worker workers[THREADS];
    uint64_t sum = 0;
    if (threads == 1) {
        workers[0].seed = 0x9e3779b97f4a7c15;
        body(&workers[0]);
        return workers[0].sum;
    }
    for (uint32_t i = 0; i < threads; i++)
        worker_start(&workers[i], i, body);
    for (uint32_t i = 0; i < threads; i++)
        sum += worker_end(&workers[i]);
    return sum;
}

static inline int finish(uint64_t sum)
{
    printf("%016llx\n", (unsigned long long)sum);
    return 0;
}
