/* Heaps of ended threads stay visible: walk and stats report each of their blocks, live or
 * freed, by whichever thread; the next thread adopts a heap as it is, and heaps that no
 * thread adopts lose no memory.
 *
 *     threads-left [rounds]
 */
#include "program.h"
#include "libmalloc.h"

/* The malloc's own, where it has them. */
extern int libmalloc_walk(int (*)(const struct libmalloc_chunk *, void *), void *)
    __attribute__((weak));
extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));
extern int libmalloc_stats(struct libmalloc_stats *) __attribute__((weak));

enum { BLOCKS = 300 };
static void *blocks[BLOCKS];
static size_t size = 16;

static void *take(void *arg) {
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = must_malloc(size);
    return arg;
}

static void *give_some(void *arg) {
    for (int i = 0; i < BLOCKS; i += 2)
        free(blocks[i]);
    return arg;
}

static size_t live_blocks(void) {
    struct libmalloc_stats stats = {.size = sizeof stats};
    check(libmalloc_stats(&stats) == 0, "no stats");
    return stats.live_blocks;
}

/* How often the walk shows each of the blocks as live, and all live ones together. */
static int seen[BLOCKS], all;

static int visit(const struct libmalloc_chunk *chunk, void *arg) {
    (void)arg;
    all += chunk->kind == LIBMALLOC_LIVE;
    for (int i = 0; i < BLOCKS; i++)
        seen[i] += chunk->user == blocks[i] && chunk->kind == LIBMALLOC_LIVE;
    return 0;
}

static void look(void) {
    memset(seen, 0, sizeof seen);
    all = 0;
    check(libmalloc_walk(visit, NULL) == 0, "no walk");
}

static void report(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

/* A thread's blocks outlive it; another thread frees half of them and ends, too. */
static void left_by_two(void) {
    size_t before = live_blocks();
    join(start(take, NULL));
    look();
    for (int i = 0; i < BLOCKS; i++)
        check(seen[i] == 1, "%zu bytes: block %d is shown %d times", size, i, seen[i]);
    check(live_blocks() == before + BLOCKS, "%zu live blocks, not %zu", live_blocks(),
          before + BLOCKS);
    join(start(give_some, NULL));
    look();
    for (int i = 0; i < BLOCKS; i++)
        check(seen[i] == i % 2, "%zu bytes: block %d is shown %d times when half are free", size, i,
              seen[i]);
    check(live_blocks() == before + BLOCKS / 2, "%zu live blocks, not %zu", live_blocks(),
          before + BLOCKS / 2);
    check((size_t)all == live_blocks(), "walk and stats differ");
    for (int i = 1; i < BLOCKS; i += 2)
        free(blocks[i]);
    check(libmalloc_check(report, NULL) == 0, "the heap is broken");
}

/* Main's own blocks, freed by threads that have ended. */
static void freed_by_others(void) {
    size_t before = live_blocks();
    take(NULL);
    join(start(give_some, NULL));
    look();
    for (int i = 0; i < BLOCKS; i++)
        check(seen[i] == i % 2, "%zu bytes: main's block %d is shown %d times", size, i, seen[i]);
    check(live_blocks() == before + BLOCKS / 2, "%zu live blocks, not %zu", live_blocks(),
          before + BLOCKS / 2);
    for (int i = 1; i < BLOCKS; i += 2)
        free(blocks[i]);
}

int main(int argc, char **argv) {
    static const size_t sizes[] = {16, 100, 1000, 10000};
    long rounds = argument(argc, argv, 1, 30);
    join(start(take, NULL)); /* libc has now allocated what it keeps for threads */
    for (long i = 0; i < rounds; i++) {
        size = sizes[i % 4];
        left_by_two();
        freed_by_others();
    }
    return 0;
}
