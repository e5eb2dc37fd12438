/*
 * shrink: blocks of 5 kB to 24 MiB are filled, and shrunk by realloc to half and a byte.
 *
 * Stands for: buffers sized for the worst case and cut to the actual size; vectors that are trimmed.
 * Shows: whether the other half is given back, or can be used again.
 *
 *     points: full, shrunk
 */
#include "life.h"

enum { KINDS = 5 };

static const size_t sizes[KINDS] = {5000, 20000, 100000, MIB, 24ul * MIB};

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    size_t share = scaled(96ul * MIB, MIB), live = 0;
    char **block[KINDS];
    for (int k = 0; k < KINDS; k++)
        block[k] = table_new(share / sizes[k] + 1, sizeof **block);
    for (int k = 0; k < KINDS; k++)
        for (size_t i = 0; i < share / sizes[k] + (sizes[k] > share); i++) {
            block[k][i] = (char *)block_new(sizes[k]);
            live += sizes[k];
        }
    point("full", live);
    live = 0;
    for (int k = 0; k < KINDS; k++)
        for (size_t i = 0; block[k][i] != NULL && i < share / sizes[k] + 1; i++) {
            block[k][i] = realloc(block[k][i], sizes[k] / 2 + 1);
            if (block[k][i] == NULL)
                life_fail("out of memory");
            live += sizes[k] / 2 + 1;
        }
    rest(0.5);
    free(malloc(100));
    point("shrunk", live);
    life_end();
}
