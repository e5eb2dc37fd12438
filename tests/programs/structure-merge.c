/* Freed neighbours merge: after many small blocks were freed, large blocks take their place
 * (or the memory is given back first), instead of new memory.
 *
 *     structure-merge [KiB] [percent of it that may come on top]
 */
#include "program.h"

int main(int argc, char **argv) {
    size_t total = (size_t)argument(argc, argv, 1, 65536) * 1024, small = 112, large = 60000;
    long allowed = argument(argc, argv, 2, 50);
    size_t count = total / small;
    void **blocks = malloc(count * sizeof *blocks);
    check(blocks, "no table");
    for (size_t i = 0; i < count; i++)
        fill(blocks[i] = must_malloc(small), small, i);
    long with_small = resident_kib();
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    for (size_t i = 0; i < total / large; i++)
        fill(blocks[i] = must_malloc(large), large, i);
    long with_large = resident_kib(), more = with_large - with_small;
    check(more <= (long)(total / 1024) * allowed / 100,
          "%zu KiB in small blocks, freed, then in large ones: %ld KiB more", total / 1024, more);
    for (size_t i = 0; i < total / large; i++)
        free(blocks[i]);
    free(blocks);
    return 0;
}
