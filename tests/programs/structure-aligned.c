/* Freed aligned blocks are used again, and so is the memory in front of them: while the number of
 * live blocks stays the same, memory stops growing.
 *
 *     structure-aligned [live blocks] [steps] [KiB that it may grow after a quarter]
 */
#include "program.h"

enum { MOST = 10000, SMALLEST = 32, ALIGNMENTS = 8 /* up to 4096 */, LARGEST = 2000 };
static void *blocks[MOST];
static size_t sizes[MOST];

static void step(uint64_t *random, size_t live) {
    size_t i = chance_below(random, live), size = 1 + chance_below(random, LARGEST);
    size_t alignment = (size_t)SMALLEST << chance_below(random, ALIGNMENTS);
    if (blocks[i])
        check_filled(blocks[i], sizes[i], i);
    free(blocks[i]);
    blocks[i] = memalign(alignment, size);
    check(blocks[i], "memalign(%zu, %zu) failed", alignment, size);
    sizes[i] = size;
    fill(blocks[i], size, i);
}

int main(int argc, char **argv) {
    size_t live = (size_t)argument(argc, argv, 1, 4000);
    long steps = argument(argc, argv, 2, 400000), allowed = argument(argc, argv, 3, 8000);
    check(live <= MOST, "%d blocks at most", MOST);
    uint64_t random = 1;
    long quarter_kib = 0;
    for (long i = 0; i < steps; i++) {
        step(&random, live);
        if (i == steps / 4)
            quarter_kib = resident_kib();
    }
    long grown = resident_kib() - quarter_kib;
    check(grown <= allowed, "%zu aligned blocks cost %ld KiB more at the end than after a quarter",
          live, grown);
    return 0;
}
