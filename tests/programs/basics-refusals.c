/* Impossible requests return NULL: half of all addresses, and products that overflow. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    volatile size_t half = SIZE_MAX / 2 + 1, all = SIZE_MAX;
    const char *found = NULL;
    if (malloc(half))
        found = "malloc(SIZE_MAX / 2 + 1)";
    else if (malloc(all))
        found = "malloc(SIZE_MAX)";
    else if (calloc(half, 2))
        found = "calloc(SIZE_MAX / 2 + 1, 2)";
    else if (realloc(NULL, all))
        found = "realloc(NULL, SIZE_MAX)";
    if (found)
        fprintf(stderr, "%s gives a block\n", found);
    return found != NULL;
}
