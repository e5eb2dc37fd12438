/* Millions of blocks are live at the same time: none overlaps another, and when all are
 * freed most of the memory goes back to the system.
 *
 *     many-live [blocks] [largest size]
 */
#include "program.h"
#include <sys/mman.h>

static size_t count, largest;

/* Visits all numbers below `count`, in an order far from ascending. */
static size_t shuffled(size_t i) {
    return i * 1000000007ull % count;
}

/* What is written at both ends of the block; small ones have one end only. */
static uint64_t word(size_t i) {
    return i * 0x9e3779b97f4a7c15u + 1;
}

static size_t size_of(size_t i) {
    return 8 + (word(i) >> 40) % (largest - 7);
}

int main(int argc, char **argv) {
    count = (size_t)argument(argc, argv, 1, 1000000);
    largest = (size_t)argument(argc, argv, 2, 80);
    check(count % 1000000007 && largest >= 8, "not these");
    char **blocks = mmap(NULL, count * sizeof *blocks, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(blocks != MAP_FAILED, "no memory for the table");
    for (size_t i = 0; i < count; i++) {
        blocks[i] = must_malloc(size_of(i));
        memcpy(blocks[i] + size_of(i) - 8, &(uint64_t){word(i)}, 8);
        memcpy(blocks[i], &(uint64_t){word(i)}, 8);
    }
    long full = resident_kib();
    for (size_t i = 0; i < count; i++) { /* both ends may overlap in small ones */
        uint64_t first;
        size_t k = shuffled(i);
        memcpy(&first, blocks[k], 8);
        check(first == word(k), "block %zu of %zu at %p changed", k, count, (void *)blocks[k]);
        free(blocks[k]);
    }
    malloc_trim(0);
    long table = (long)(count * sizeof *blocks / 1024), left = resident_kib() - table;
    check(left < (full - table) / 4, "%ld KiB of %ld are left when all is freed", left, full - table);
    return 0;
}
