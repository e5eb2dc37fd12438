/* The program writes into a free block: past the end of the one before it, or through a
 * stale pointer. It may continue for a while, but no call hands out memory that is not
 * free: malloc ends the program before that, with a line that names the block that was
 * written to. Prints that block first.
 *
 *     misuse-written [overflow|late|remote|twice] [size] [bytes written, or where]
 */
#include "program.h"
#include <assert.h>

enum { COUNT = 64, MORE = 20000 };
static char *blocks[COUNT], *victim;
static size_t size;
static atomic_int step;

/* Changes every byte, each in another way. */
static void spoil(char *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        at[i] ^= (char)(0x41 + 7 * i);
}

/* A page with many free blocks is used again. */
static void free_others(int but) {
    for (int i = 0; i < COUNT; i += 3)
        if (i != but) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
}

static int by_address(const void *a, const void *b) {
    char *x = *(char *const *)a, *y = *(char *const *)b;
    return x < y ? -1 : x > y;
}

/* The n-th byte behind a block is the n-th of the next one, which is free. */
static void overflow(long bytes) {
    qsort(blocks, COUNT, sizeof *blocks, by_address);
    for (int i = COUNT / 2; i + 1 < COUNT; i++) {
        size_t usable = malloc_usable_size(blocks[i]); /* a small heap may round up some more */
        if (blocks[i] + usable == blocks[i + 1]) {
            victim = blocks[i + 1];
            free(victim);
            blocks[i + 1] = NULL;
            spoil(blocks[i] + usable, (size_t)bytes);
            return free_others(i);
        }
    }
    check(false, "no two blocks side by side");
}

static void late(long at) {
    victim = blocks[COUNT / 2];
    blocks[COUNT / 2] = NULL;
    free(victim);
    spoil(victim + at, 1);
    free_others(-1);
}

/* Frees one half and waits, so that some blocks are pending; then frees a few more. */
static void *free_some(void *arg) {
    for (int i = 0; i < COUNT; i += 2)
        free(blocks[i]);
    atomic_store(&step, 1);
    while (atomic_load(&step) < 2)
        sched_yield();
    free(malloc(size)); /* so that this thread has a heap, too */
    return arg;
}

/* The next thread adopts the heap, and sends its batches. */
static void *allocate(void *arg) {
    free(must_malloc(size));
    return arg;
}

static void remote(long at) {
    victim = blocks[COUNT / 2];
    static_assert(COUNT / 2 % 2 == 0, "the other thread frees it");
    pthread_t other = start(free_some, NULL);
    while (atomic_load(&step) < 1)
        sched_yield();
    for (int i = 0; i < COUNT; i += 2)
        blocks[i] = NULL;
    spoil(victim + at, 1);
    atomic_store(&step, 2);
    join(other);
    for (int i = 0; i < 8; i++)
        join(start(allocate, NULL));
}

/* The write has removed the mark when the block is freed for the second time. */
static void twice(long bytes) {
    victim = blocks[COUNT / 2];
    blocks[COUNT / 2] = NULL;
    free(victim);
    memset(victim, 0x41, (size_t)bytes);
    say("%p", (void *)victim);
    free(victim);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "overflow";
    size = (size_t)argument(argc, argv, 2, 64);
    long much = argument(argc, argv, 3, 1);
    for (int i = 0; i < COUNT; i++)
        memset(blocks[i] = must_malloc(size), 0x55, size);
    if (!strcmp(how, "twice"))
        twice(much);
    else {
        !strcmp(how, "overflow") ? overflow(much) : !strcmp(how, "late") ? late(much) : remote(much);
        say("%p", (void *)victim);
    }
    for (int i = 0; i < MORE; i++) { /* each block must be memory of its own */
        char *p = must_malloc(size);
        for (int k = 0; k < COUNT; k++)
            check(!blocks[k] || p + size <= blocks[k] || blocks[k] + size <= p,
                  "%p was handed out and overlaps a live block", (void *)p);
        check(p != victim || how[0] == 't', "the block that was written to was handed out");
        memset(p, 0x66, size);
    }
    say("survived");
    return 0;
}
