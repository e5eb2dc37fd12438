/* Memory returns to the system: after a program has freed all its blocks, of whatever size,
 * and called malloc_trim, most of the memory is no longer resident.
 *
 *     structure-return [KiB] [size of a block] [percent that may stay]
 */
#include "program.h"

int main(int argc, char **argv) {
    size_t total = (size_t)argument(argc, argv, 1, 65536) * 1024;
    size_t size = (size_t)argument(argc, argv, 2, 500);
    long allowed = argument(argc, argv, 3, 25), start_kib = resident_kib();
    size_t count = total / size;
    void **blocks = malloc(count * sizeof *blocks);
    check(blocks, "no table");
    for (size_t i = 0; i < count; i++)
        memset(blocks[i] = must_malloc(size), 1, size);
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    free(blocks);
    malloc_trim(0);
    long stayed = resident_kib() - start_kib;
    check(stayed <= (long)(total / 1024) * allowed / 100, "of %zu KiB %ld stayed", total / 1024,
          stayed);
    return 0;
}
