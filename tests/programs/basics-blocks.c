/* Two blocks that live at the same time share no byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 1000 };
static unsigned char *blocks[MANY];

static size_t size_of(int i) {
    return 1 + (size_t)(i * 37) % 3000;
}

int main(void) {
    for (int i = 0; i < 4 * MANY; i++) {
        int at = (i * 7) % MANY; /* the second time, the block is freed and allocated anew */
        for (size_t j = 0; blocks[at] && j < size_of(at); j++)
            if (blocks[at][j] != (unsigned char)at) {
                fprintf(stderr, "byte %zu of a live block of %zu bytes at %p has changed\n", j,
                        size_of(at), (void *)blocks[at]);
                return 1;
            }
        free(blocks[at]);
        if (!(blocks[at] = malloc(size_of(at)))) {
            fprintf(stderr, "malloc(%zu) is NULL\n", size_of(at));
            return 1;
        }
        memset(blocks[at], at, size_of(at));
    }
    return 0;
}
