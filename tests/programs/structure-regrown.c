/* Blocks of less than 2 MiB grow to 13 MiB between many others, in place where the malloc can do that;
 * then blocks of 33 MiB, each with a mapping of its own, must not be confused with any of them.
 */
#include "program.h"

enum { FEW = 280, MANY = 3000, SMALL = 600000, LARGE = 1100, GROW = 7, REUSED = 6 };
static void *few[FEW], *many[MANY], *small[SMALL], *large[LARGE];

int main(void) {
    for (int i = 0; i < FEW; i++)
        few[i] = must_malloc(1900 << 10);
    for (int i = 0; i < MANY; i++)
        many[i] = must_malloc(100000);
    for (int i = 0; i < FEW; i++)
        if (i % GROW)
            free(few[i]);
    for (int i = 0, k = MANY - 1000; i < FEW; i += GROW) {
        for (int j = 0; j < REUSED; j++, k++) {
            free(many[k]);
            many[k] = NULL;
        }
        void *grown = realloc(few[i], (210 << 16) - 8192);
        if (grown != few[i])
            free(grown);
    }
    for (int i = 0; i < MANY; i++)
        free(many[i]);
    malloc_trim(0);
    for (int i = 0; i < SMALL; i++)
        small[i] = must_malloc(16);
    for (int i = 0; i < SMALL; i++)
        if (i % 4096)
            free(small[i]);
    size_t length = 33 << 20;
    for (int i = 0; i < LARGE; i++) {
        large[i] = must_malloc(length);
        check(malloc_usable_size(large[i]) >= length, "malloc_usable_size(%p) is %zu", large[i],
              malloc_usable_size(large[i]));
    }
    for (int i = 0; i < LARGE; i++)
        free(large[i]);
    return 0;
}
