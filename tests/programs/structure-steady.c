/* While random blocks are replaced by others of random sizes, and the live memory stays about
 * the same, the process stops growing.
 *
 *     structure-steady [live blocks] [largest size] [replacements] [percent that it may grow]
 */
#include "program.h"

int main(int argc, char **argv) {
    size_t live = (size_t)argument(argc, argv, 1, 20000);
    size_t largest = (size_t)argument(argc, argv, 2, 4000);
    long steps = argument(argc, argv, 3, 2000000), allowed = argument(argc, argv, 4, 50), early = 0;
    uint64_t random = 1;
    unsigned char **blocks = calloc(live, sizeof *blocks);
    check(blocks, "no table");
    for (long step = 0; step < steps; step++) {
        size_t i = chance_below(&random, live), size = 1 + chance_size(&random, largest);
        free(blocks[i]);
        blocks[i] = must_malloc(size);
        memset(blocks[i], 1, size);
        if (step == steps / 4)
            early = resident_kib();
    }
    long grown = resident_kib() - early;
    check(grown <= early * allowed / 100, "after a quarter %ld KiB, at the end %ld KiB more", early,
          grown);
    for (size_t i = 0; i < live; i++)
        free(blocks[i]);
    free(blocks);
    return 0;
}
