/* LIBMALLOC_OPTIONS=limit=BYTES, given here in MiB: malloc and its family refuse more than that,
 * freed memory can be allocated again, and a refusal does no harm.
 *
 *     options-limit MIB [SIZE [REUSES]]       REUSES is 2 where sizes are rounded up to twice
 *
 * Ends with 77 when the malloc does not account for its memory at all.
 */
#include "program.h"

#include "libmalloc.h"

#pragma weak libmalloc_stats

struct block {
    struct block *next;
};

static size_t size;

static long take_all(struct block **all) {
    long count = 0;
    struct block *b;
    errno = 0;
    while ((b = malloc(size))) {
        fill(b + 1, size - sizeof *b, 1);
        b->next = *all;
        *all = b;
        check(++count < 1 << 24, "no end");
    }
    check(errno == ENOMEM, "a refusal set errno to %d", errno);
    return count;
}

static void free_all(struct block **all) {
    for (struct block *next; *all; *all = next) {
        next = (*all)->next;
        check_filled(*all + 1, size - sizeof **all, 1);
        errno = 12345;
        free(*all);
        check(errno == 12345, "free changed errno to %d", errno);
    }
}

static void refused(void *p) {
    check(!p, "memory beyond the limit");
    check(errno == ENOMEM, "a refusal set errno to %d", errno);
    errno = 0;
}

int main(int argc, char **argv) {
    size_t limit = (size_t)argument(argc, argv, 1, 32) << 20;
    size = (size_t)argument(argc, argv, 2, 5000);
    bool reuses = argument(argc, argv, 3, 1), rounds = argument(argc, argv, 3, 1) == 2;
    struct libmalloc_stats stats = {.size = sizeof stats};
    void *some = malloc(1), *more = malloc(limit / 4); /* malloc(1) alone may not count */
    check(libmalloc_stats && libmalloc_stats(&stats) == 0, "no stats");
    free(some);
    free(more);
    if (!stats.taken)
        return 77;
    check(stats.limit == limit, "the limit is %zu bytes", stats.limit);

    struct block *all = NULL;
    long first = take_all(&all);
    check((size_t)first * size <= limit, "%ld blocks of %zu bytes are too many", first, size);
    check((size_t)first * size >= limit / 3, "only %ld blocks of %zu bytes", first, size);
    libmalloc_stats(&stats);
    check(stats.taken <= limit && stats.taken >= limit / 3, "%zu bytes taken", stats.taken);

    if (reuses) {
        size_t much = limit;
        refused(malloc(much));
        refused(calloc(1, much));
        refused(calloc(much / 16, 16));
        refused(realloc(all, much));
        refused(reallocarray(NULL, much, 1));
        refused(aligned_alloc(4096, much));
        void *p = NULL;
        check(posix_memalign(&p, 4096, much) == ENOMEM && !p, "posix_memalign found memory");
        free_all(&all);
        long again = take_all(&all);
        check(again >= first / 10 * 9, "%ld blocks at first, %ld after their free", first, again);
        free_all(&all);
        /* blocks of another size, from what was given back (debug builds hold freed blocks) */
        malloc_trim(0);
        p = malloc(limit / 2);
        check(p, "no block of half the limit after everything was freed");
        void *grown = realloc(p, limit / 4 * 3);
        check(grown || rounds, "a block could not grow to three quarters of the limit");
        free(grown ? grown : p);
    }
    return 0;
}
