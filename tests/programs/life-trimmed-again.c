/* malloc_trim gives back free memory in pages that hold live blocks. If that memory was used again and
 * freed since, it gives it back again.
 *
 *     life-trimmed-again [bytes of a block] [MiB in all]
 */
#include "life.h"

enum { ROUNDS = 3, APART = 13 /* one block in so many stays live */ };

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, 20000);
    long count = argument(argc, argv, 2, 80) * MIB / (long)size, before = resident_mib(), first = 0;
    char **blocks = table((size_t)count, sizeof *blocks);
    build(blocks, count, size);
    for (int round = 0; round < ROUNDS; round++) {
        for (long i = 0; i < count; i++)
            if (i % APART)
                free(blocks[i]);
        malloc_trim(0);
        long left = resident_mib() - before;
        say("round %d: %ld MiB are left", round, left);
        first = round ? first : left;
        check(left <= first + first / 4 + 2, "at first %ld MiB were left, in round %d %ld", first,
              round, left);
        for (long i = 0; i < count; i++)
            if (i % APART)
                fill(blocks[i] = must_malloc(size), size, 1);
    }
    return 0;
}
