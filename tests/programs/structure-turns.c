/* Two blocks of similar sizes, taken and freed again and again: one fits where the other was, or
 * nearly. Whatever a malloc does with the difference, memory does not grow.
 *
 *     structure-turns [KiB that a round of turns takes in all] [KiB that it may grow]
 */
#include "program.h"

static void *taken(size_t size) {
    void *p = must_malloc(size);
    memset(p, 1, size);
    return p;
}

static void take_turns(size_t size, size_t other, size_t total, long allowed) {
    void *always = taken(size); /* so that the heap is never empty, as in most programs */
    long before = resident_kib();
    for (size_t turn = 0; turn < total / size; turn++) {
        void *p = taken(size), *q = taken(other);
        free(turn % 2 ? p : q);
        free(turn % 2 ? q : p);
    }
    long grown = resident_kib() - before;
    check(grown <= allowed, "%zu and %zu bytes, freed %zu times, left %ld KiB", size, other,
          total / size, grown);
    free(always);
}

int main(int argc, char **argv) {
    size_t total = (size_t)argument(argc, argv, 1, 32768) * 1024;
    long allowed = argument(argc, argv, 2, 16384);
    for (size_t size = 100; size < 1000000; size = size * 7 / 2) {
        take_turns(size, size - size / 16, total, allowed);
        take_turns(size, size / 3, total, allowed);
    }
    return 0;
}
