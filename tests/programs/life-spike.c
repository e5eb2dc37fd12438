/* After a spike, nearly all blocks are freed in random order. Then little more stays resident
 * than the pages that hold a live block: while the program makes small calls, after
 * malloc_trim, or even if no further call is made. Afterwards the free blocks can be
 * allocated again, undamaged.
 *
 *     life-spike [blocks] [bytes of a block, 0: of mixed sizes] [small|trim|nothing] [in a hundred more]
 */
#include "life.h"

enum { KEPT_OF = 20, SECONDS = 20, PAGE = 4096, MIXED = 3000 };

static long count;
static size_t size;
static char **blocks;

static size_t size_of(long i) {
    uint64_t random = (uint64_t)i + 1;
    chance(&random);
    return size ? size : 16 + chance_below(&random, MIXED);
}

static void blocks_fill(void) {
    for (long i = 0; i < count; i++)
        if (!blocks[i])
            memset(blocks[i] = must_malloc(size_of(i)), (int)(i | 1), size_of(i));
}

static void blocks_verify(void) {
    for (long i = 0; i < count; i++)
        for (size_t at = 0; blocks[i] && at < size_of(i); at++)
            check(blocks[i][at] == (char)(i | 1), "byte %zu of block %ld was changed", at, i);
}

static int ascending(const void *a, const void *b) {
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}

/* The MiB of pages that hold a part of a live block. */
static long pages_mib(void) {
    uintptr_t *page = table((size_t)count, 2 * sizeof *page);
    size_t n = 0, different = 0;
    for (long i = 0; i < count; i++)
        if (blocks[i])
            for (uintptr_t at = (uintptr_t)blocks[i] / PAGE;
                 at <= ((uintptr_t)blocks[i] + size_of(i) - 1) / PAGE; at++)
                page[n++] = at;
    qsort(page, n, sizeof *page, ascending);
    for (size_t i = 0; i < n; i++)
        different += !i || page[i] != page[i - 1];
    munmap(page, (size_t)count * 2 * sizeof *page);
    return (long)different * PAGE / MIB;
}

static void small_traffic(void) {
    for (int i = 0; i < 20000; i++) {
        char *volatile p = must_malloc(100 + (size_t)i % 7 * 8);
        free(p);
    }
    pause_ms(1);
}

int main(int argc, char **argv) {
    count = argument(argc, argv, 1, 200000);
    size = (size_t)argument(argc, argv, 2, 0);
    const char *then = argc > 3 ? argv[3] : "small";
    bool trim = !strcmp(then, "trim"), nothing = !strcmp(then, "nothing");
    long more = argument(argc, argv, 4, 10);
    blocks = table((size_t)count, sizeof *blocks);
    uint64_t random = 1;
    long before = resident_mib();
    blocks_fill();
    long most = resident_mib() - before;
    for (long i = 0; i < count; i++)
        if (chance_below(&random, KEPT_OF)) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    long wanted = pages_mib(), limit = wanted + wanted * more / 100 + 4 + (long)((size_t)count * sizeof *blocks) / MIB;
    double begin = now();
    long left = resident_mib() - before;
    while (!nothing && left > limit && now() - begin < SECONDS) {
        if (trim)
            malloc_trim(0);
        else
            small_traffic();
        left = resident_mib() - before;
    }
    say("%ld MiB, after %.1f s: %ld; live blocks lie in %ld", most, now() - begin, left, wanted);
    check(left <= limit, "of %ld MiB %ld are still there; live blocks lie in %ld", most, left, wanted);
    blocks_verify();
    blocks_fill();
    blocks_verify();
    for (long i = 0; i < count; i++)
        free(blocks[i]);
    return 0;
}
