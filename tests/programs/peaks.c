/* A heap that grows and shrinks three times, to 1000, 5000 and 3000 blocks, with small ups and downs on
 * the way; some blocks are never freed. The table of addresses is not in the heap. */
#include <stdlib.h>

enum { MOST = 5000 };
static void *blocks[MOST + 1];

static void climb(int from, int to) {
    for (int i = from; i < to; i++) {
        blocks[i] = malloc(16 + (size_t)(i * 37 % 200));
        if (i % 50 == 0) {
            free(blocks[i]);
            blocks[i] = malloc(100);
        }
    }
}

static void descend(int from, int to) {
    while (from > to)
        free(blocks[--from]);
}

int main(void) {
    climb(0, 1000);
    descend(1000, 100);
    climb(100, MOST);
    descend(MOST, 50);
    climb(50, 3000);
    return 0;
}
