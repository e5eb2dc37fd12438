/* A program whose heap is worth a drawing (docs/heaps.svg): blocks of many sizes, every other one
 * freed, and new ones that fit into some of the holes and not into others. */
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 300 };

static unsigned state = 1;
static size_t size_of_next(size_t most) {
    state = state * 1103515245 + 12345;
    return 16 + state / 65536 % most;
}

int main(void) {
    static char *blocks[3 * BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = size_of_next(i % 10 ? 200 : 900);
        blocks[i] = memset(malloc(size), i, size);
    }
    for (int i = 0; i < BLOCKS; i += 2)
        free(blocks[i]);
    for (int i = BLOCKS; i < 3 * BLOCKS; i++)
        blocks[i] = malloc(size_of_next(i % 3 ? 100 : 400));
    return blocks[3 * BLOCKS - 1] == NULL;
}
