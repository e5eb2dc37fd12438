/*
 * start: allocates one block, and ends.
 *
 * Stands for: what every process pays before it has done anything. Measured beside a run with an
 * empty library preloaded (empty.c): the difference is the malloc's, not the dynamic linker's.
 */
#include <stdlib.h>

int main(void) {
    char *volatile block = malloc(100);
    if (block == NULL)
        return 1;
    block[0] = 1;
    free(block);
    return 0;
}
