/* Calls every function that allocates, and frees each block: under a tool that replaces some of these
 * functions, all blocks must come from the same allocator. */
#include "program.h"

int main(void) {
    void *blocks[] = {malloc(10),         calloc(2, 5),          realloc(NULL, 10),
                      valloc(10),         memalign(64, 10),      aligned_alloc(64, 64),
                      strdup("a string"), reallocarray(NULL, 2, 5), pvalloc(10)};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        char *p = reallocarray(blocks[i], 3, 10);
        check(p, "no memory");
        p[29] = 1;
        free(p);
    }
    free(pvalloc(5000));
    return 0;
}
