/* Freed memory is used again: a program that allocates and frees the same amount round after
 * round, in blocks of one size or of another size each round, does not grow.
 *
 *     structure-reuse [KiB of a round] [rounds] [KiB that it may grow to]
 */
#include "program.h"

static void **blocks;

static void round_of(size_t size, size_t total) {
    size_t count = total / size;
    for (size_t i = 0; i < count; i++)
        fill(blocks[i] = must_malloc(size), size, i);
    for (size_t i = 0; i < count; i++) { /* odd ones first, so that holes come and go */
        size_t one = i < count / 2 ? 2 * i + 1 : 2 * (i - count / 2);
        if (one < count) {
            check_filled(blocks[one], size, one);
            free(blocks[one]);
            blocks[one] = NULL;
        }
    }
    for (size_t i = 0; i < count; i++) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

int main(int argc, char **argv) {
    size_t total = (size_t)argument(argc, argv, 1, 4096) * 1024;
    long rounds = argument(argc, argv, 2, 100), allowed = argument(argc, argv, 3, 65536);
    const size_t sizes[] = {32, 48, 500, 1000, 4000, 20000, 100000, 1000000};
    blocks = calloc(total / 32, sizeof *blocks);
    check(blocks, "no table");
    memset(blocks, 0, total / 32 * sizeof *blocks);
    long start_kib = resident_kib();
    for (long round = 0; round < rounds; round++)
        round_of(sizes[(size_t)round % (sizeof sizes / sizeof *sizes)], total);
    long grown = resident_kib() - start_kib;
    check(grown <= allowed, "%ld rounds of %zu KiB, each freed, left %ld KiB", rounds, total / 1024,
          grown);
    free(blocks);
    return 0;
}
