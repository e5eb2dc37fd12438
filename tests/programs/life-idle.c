/* A program frees all its blocks and then makes no calls, or calls with single small blocks:
 * its memory goes back to the system without a large call and without malloc_trim.
 *
 *     life-idle [bytes of a block] [nothing|small] [MiB] [seconds at most]
 */
#include "life.h"

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, 112);
    bool small = argc > 2 && !strcmp(argv[2], "small");
    long count = argument(argc, argv, 3, 200) * MIB / (long)size;
    long limit = argument(argc, argv, 4, 6), before = resident_mib();
    char **blocks = table((size_t)count, sizeof *blocks);
    build(blocks, count, size);
    long most = resident_mib() - before;
    drop(blocks, count);
    munmap(blocks, (size_t)count * sizeof *blocks);
    long freed = resident_mib() - before, left = freed, few = 8 + most / 4;
    double begin = now();
    while (left > few && now() - begin < (double)limit) {
        pause_ms(10);
        if (small)
            free(must_malloc(100));
        left = resident_mib() - before;
    }
    say("%ld MiB, freed: %ld, after %.1f s: %ld", most, freed, now() - begin, left);
    check(left <= few, "of %ld MiB %ld are still there after %ld s", most, left, limit);
    return 0;
}
