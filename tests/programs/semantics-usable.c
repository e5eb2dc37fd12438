/* A block has all bytes that were asked for, and all that malloc_usable_size reports: every
 * one can be written, and the neighbours of the block do not change.
 *
 *     semantics-usable [largest size]
 */
#include "program.h"

enum { MOST = 20000 };
static struct {
    void *p;
    size_t size;
} blocks[MOST];

int main(int argc, char **argv) {
    size_t largest = (size_t)argument(argc, argv, 1, 3000000), count = 0;
    for (size_t size = 0; size <= largest; size += size < 1100 ? 1 : size / 5)
        for (int twice = 0; twice < 3; twice++, count++) {
            void *p = twice == 2 ? calloc(1, size) : must_malloc(size);
            check(p || size == 0, "calloc(1, %zu) failed", size);
            size_t usable = malloc_usable_size(p);
            check(usable >= size, "%p: asked for %zu bytes, %zu usable", p, size, usable);
            fill(p, usable, count);
            blocks[count].p = p;
            blocks[count].size = usable;
        }
    for (size_t i = 0; i < count; i++) {
        check_filled(blocks[i].p, blocks[i].size, i);
        if (i % 2)
            free(blocks[i].p);
    }
    for (size_t i = 0; i < count; i += 2) { /* free has not written into a neighbour */
        check_filled(blocks[i].p, blocks[i].size, i);
        free(blocks[i].p);
    }
    return 0;
}
