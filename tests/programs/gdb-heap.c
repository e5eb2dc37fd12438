/* Makes a heap for GDB to describe, and asks the malloc itself for the same. Some of its own symbols
 * have the names of our variants' symbols: a debugger must not confuse them.
 *
 *     gdb-heap               stops in stop_here(), then prints what the malloc said, status 3
 *     gdb-heap overflow      the same, after writing over the end of a block
 *     gdb-heap double-free   the same, then frees a block a second time
 *     gdb-heap WORD…         prints its arguments, one a line in brackets, status 3
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmalloc.h"

enum { BLOCKS = 60, SEEN = 4096 };

int heap = 42;
struct chunk {
    char next[7];
} chunk;
struct span {
    char start;
} span;
struct arena {
    short lock;
} arena;

/* What GDB is to find; static, so that a look at the heap does not change it. */
static char *block, *freed, *large;
static struct libmalloc_stats stats = {.size = sizeof stats};
static struct libmalloc_chunk seen[SEEN];
static int count, broken;

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

static int visit(const struct libmalloc_chunk *c, void *arg) {
    (void)arg;
    if (count < SEEN)
        seen[count++] = *c;
    return 0;
}

/* The names come from the library that is preloaded, if one of ours is. */
static void ask(void) {
    int (*walk)(int (*)(const struct libmalloc_chunk *, void *), void *);
    int (*check)(void (*)(const char *, void *), void *);
    int (*figures)(struct libmalloc_stats *);
    *(void **)&walk = dlsym(RTLD_DEFAULT, "libmalloc_walk");
    *(void **)&check = dlsym(RTLD_DEFAULT, "libmalloc_check");
    *(void **)&figures = dlsym(RTLD_DEFAULT, "libmalloc_stats");
    if (!walk || !check || !figures)
        return;
    walk(visit, NULL);
    broken = check(NULL, NULL);
    figures(&stats);
}

static void tell(void) {
    printf("stats %zu %zu %zu %zu %zu %zu %zu %zu\n", stats.regions, stats.mapped, stats.live_blocks,
           stats.live_bytes, stats.free_blocks, stats.free_bytes, stats.fresh_bytes,
           stats.header_bytes);
    printf("broken %d\nheap %d %c%c%d\n", broken, heap, chunk.next[0], span.start, arena.lock);
    printf("blocks %p %p %p\n", (void *)block, (void *)freed, (void *)large);
    for (int i = 0; i < count; i++)
        printf("chunk %u %#zx %zu %#zx %zu %u\n", seen[i].kind, (size_t)seen[i].start,
               seen[i].extent, (size_t)seen[i].user, seen[i].usable, seen[i].size_class);
}

int main(int argc, char **argv) {
    const char *mode = argc == 2 ? argv[1] : "";
    char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(20 + 50 * (size_t)i);
    for (int i = 0; i < BLOCKS; i += 3)
        free(blocks[i]);
    block = blocks[31];
    freed = blocks[30];
    large = malloc(60000);
    *(volatile char *)&chunk.next[0] = *(volatile char *)&span.start = 'x';
    *(volatile short *)&arena.lock = 7;
    ask();
    if (strcmp(mode, "overflow") == 0) { /* into the header of the chunk behind */
        volatile char *end = blocks[32] + 20 + 50 * 32;
        memset((char *)end, 'A', 48);
    }
    stop_here();
    if (strcmp(mode, "double-free") == 0)
        free(freed);
    for (int i = 1; i < argc; i++)
        printf("[%s]\n", argv[i]);
    if (argc == 1)
        tell();
    fflush(stdout);
    _Exit(3);
}
