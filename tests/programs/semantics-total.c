/* All live blocks together may take more than 4 GiB, or malloc refuses: a place that is kept in 32
 * bits would be another block's. Only some of the blocks are touched.
 *
 *     semantics-total [size of a block]
 */
#include "program.h"
#include <sys/prctl.h>

enum { MOST = 60000, TOUCHED = 16, ENOUGH_KIB = 1 << 20 };
static char *blocks[MOST], *sorted[MOST];

static int by_address(const void *a, const void *b) {
    const char *const *left = a, *const *right = b;
    return (*left > *right) - (*left < *right);
}

static void check_apart(size_t count, size_t size) {
    memcpy(sorted, blocks, count * sizeof *blocks);
    qsort(sorted, count, sizeof *sorted, by_address);
    for (size_t i = 1; i < count; i++)
        check((size_t)(sorted[i] - sorted[i - 1]) >= size,
              "%p and %p overlap, of %zu live blocks of %zu bytes", (void *)sorted[i - 1],
              (void *)sorted[i], count, size);
}

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, 100000), wanted = (5ul << 30) / size, count = 0;
    check(wanted <= MOST, "too many blocks of %zu bytes", size);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* huge pages would touch all of it */
    /* Some mallocs write to each block: 1 GiB of that is enough. */
    for (; count < wanted && (count % 1000 || resident_kib() < ENOUGH_KIB); count++) {
        if (!(blocks[count] = malloc(size)))
            break;
        if (count % TOUCHED == 0) {
            fill(blocks[count], 100, count);
            blocks[count][size - 1] = 1;
        }
    }
    check_apart(count, size);
    for (size_t i = 0; i < count; i += TOUCHED)
        check_filled(blocks[i], 100, i);
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    return 0;
}
