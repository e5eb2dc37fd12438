/* Fragmentation is bounded: blocks of one size with every other one freed, then of a larger
 * size with every other one freed, and so on; resident memory stays within a factor of
 * live memory.
 *
 *     structure-fragment [KiB of a generation] [generations] [percent of what lives]
 */
#include "program.h"

enum { MOST = 200000 };
static void *kept[MOST];

int main(int argc, char **argv) {
    size_t total = (size_t)argument(argc, argv, 1, 8192) * 1024, count = 0, alive = 0, size = 40;
    long generations = argument(argc, argv, 2, 8), allowed = argument(argc, argv, 3, 300);
    memset(kept, 0, sizeof kept);
    long start_kib = resident_kib();
    for (long g = 0; g < generations; g++, size = size * 8 / 5) {
        size_t first = count, n = total / size;
        for (size_t i = 0; i < n && count < MOST; i++) {
            memset(kept[count++] = must_malloc(size), 1, size);
            alive += size;
        }
        size_t to = first;
        for (size_t i = first; i < count; i++) {
            if (i % 2) {
                free(kept[i]);
                alive -= size;
            } else {
                kept[to++] = kept[i];
            }
        }
        count = to;
    }
    long used = resident_kib() - start_kib;
    check(used * 100 <= (long)(alive / 1024) * allowed, "%zu KiB live in %ld KiB", alive / 1024,
          used);
    for (size_t i = 0; i < count; i++)
        free(kept[i]);
    return 0;
}
