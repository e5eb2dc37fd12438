/* Memory inside of a page goes back to the system while other blocks of the page are live. A free block
 * in that memory has lost its mark, but misuse of it is noticed when it is handed out: a write to it the
 * first time, a double free the second time, because the program has written to it in between.
 *
 *     life-purged none|twice|written [bytes of a block]
 */
#include "life.h"

enum { BLOCKS = 4000, KEPT_OF = 40 };

int main(int argc, char **argv) {
    const char *misuse = argc > 1 ? argv[1] : "none";
    size_t size = (size_t)argument(argc, argv, 2, 1000);
    static char *blocks[BLOCKS];
    build(blocks, BLOCKS, size);
    for (int i = 0; i < BLOCKS; i++)
        if (i % KEPT_OF)
            free(blocks[i]);
    malloc_trim(0);
    char *volatile victim = blocks[BLOCKS / 2 + KEPT_OF / 2];
    if (!strcmp(misuse, "twice"))
        free(victim);
    if (!strcmp(misuse, "written"))
        victim[5] = 1;
    for (int i = 0; i < BLOCKS; i++)
        if (i % KEPT_OF)
            memset(blocks[i] = must_malloc(size), 1, size);
    for (int i = 0; i < BLOCKS; i++)
        for (int j = 0; j < 16; j++)
            check(blocks[i] && blocks[i][j] == 1, "block %d was changed", i);
    return 0;
}
