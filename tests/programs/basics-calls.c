/* malloc and free return, and every block can be written. */
#include <stdio.h>
#include <stdlib.h>

enum { MANY = 100, ROUNDS = 10 };

int main(void) {
    static char *blocks[MANY];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < MANY; i++) {
            size_t size = 1 + (size_t)(i * 7) % 500;
            if (!(blocks[i] = malloc(size))) {
                fprintf(stderr, "malloc(%zu) is NULL\n", size);
                return 1;
            }
            blocks[i][0] = blocks[i][size - 1] = 'x';
        }
        for (int i = 0; i < MANY; i++)
            free(blocks[i]);
    }
    return 0;
}
