/* A realloc to a little more than a half gives the rest back to the system: at once if
 * the block is large, and by malloc_trim if it is smaller than 1 MiB.
 *
 *     life-shrink [bytes of a block] [MiB in all]
 */
#include "life.h"

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, MIB), half = size / 2 + 1;
    long count = argument(argc, argv, 2, 256) * MIB / (long)size, before = resident_mib();
    char **blocks = table((size_t)count, sizeof *blocks);
    build(blocks, count, size);
    long full = resident_mib() - before;
    for (long i = 0; i < count; i++) {
        check((blocks[i] = realloc(blocks[i], half)), "realloc to %zu bytes failed", half);
        check(blocks[i][0] == 1 && blocks[i][half - 1] == 1, "realloc to %zu bytes lost bytes", half);
    }
    long shrunk = resident_mib() - before;
    malloc_trim(0);
    long trimmed = resident_mib() - before, left = size < MIB ? trimmed : shrunk;
    say("%ld blocks of %zu bytes: %ld MiB, shrunk to half: %ld, trimmed: %ld", count, size, full,
        shrunk, trimmed);
    check(left <= full * 5 / 8 + 2, "%ld MiB shrank to half, %ld are still there", full, left);
    return 0;
}
