/* calloc returns zeroed memory, above all if the memory was written to and freed before.
 *
 *     semantics-calloc [largest size]
 */
#include "program.h"

enum { MANY = 40 };

static void dirty(size_t size) {
    void *blocks[MANY];
    for (int i = 0; i < MANY; i++) {
        blocks[i] = must_malloc(size);
        memset(blocks[i], 0xff, usable_size(blocks[i], size));
    }
    for (int i = 0; i < MANY; i++)
        free(blocks[i]);
}

static void zeroed(size_t size) {
    void *blocks[MANY];
    for (int i = 0; i < MANY; i++) {
        blocks[i] = i % 2 ? calloc(1, size) : calloc(size, 1);
        check(blocks[i], "calloc of %zu bytes failed", size);
        check_zero(blocks[i], size);
        memset(blocks[i], 0xff, size);
    }
    for (int i = 0; i < MANY; i++)
        free(blocks[i]);
}

int main(int argc, char **argv) {
    size_t largest = (size_t)argument(argc, argv, 1, 2000000);
    for (size_t size = 1; size <= largest; size += size < 200 ? 1 : size / 3) {
        dirty(size);
        zeroed(size);
    }
    return 0;
}
