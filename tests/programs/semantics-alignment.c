/* Every block is aligned for any object that fits into it, whichever call made it; with
 * `strict`, even a block of a single byte is aligned to 16 bytes.
 *
 *     semantics-alignment [largest size] [strict: 0 or 1]
 */
#include "program.h"

static bool strict;

static void check_block(void *p, size_t size, const char *call) {
    check(p, "%s of %zu bytes failed", call, size);
    check_aligned(p, size);
    check(!strict || (uintptr_t)p % 16 == 0, "%s of %zu bytes: %p", call, size, p);
}

static void one_size(size_t size) {
    void *p = malloc(size), *q = calloc(1, size), *r = realloc(NULL, size);
    check_block(p, size, "malloc");
    check_block(q, size, "calloc");
    check_block(r, size, "realloc(NULL)");
    r = realloc(r, size + size / 2 + 1);
    check_block(r, size + size / 2 + 1, "realloc");
    free(p);
    p = malloc(size); /* a recycled one as well */
    check_block(p, size, "malloc");
    free(p);
    free(q);
    free(r);
}

int main(int argc, char **argv) {
    size_t largest = (size_t)argument(argc, argv, 1, 4 << 20);
    strict = argument(argc, argv, 2, 0);
    for (size_t size = 1; size <= 1100 && size <= largest; size++)
        one_size(size);
    for (size_t size = 1100; size <= largest; size += size / 7)
        one_size(size);
    return 0;
}
