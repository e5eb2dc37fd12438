/* realloc keeps the contents, up to the smaller of both sizes, from every size to every
 * other, with neighbours and without; a block that shrinks and grows again keeps what it
 * had when it was smallest.
 *
 *     semantics-realloc [largest size]
 */
#include "program.h"

static void resize(size_t from, size_t to) {
    unsigned char *before = must_malloc(from / 2 + 1), *p = must_malloc(from);
    unsigned char *after = must_malloc(from / 3 + 1);
    size_t kept = from < to ? from : to;
    fill(before, from / 2 + 1, 1);
    fill(after, from / 3 + 1, 2);
    fill(p, from, 3);
    uintptr_t origin = (uintptr_t)p;
    p = realloc(p, to);
    check(p, "realloc from %zu to %zu bytes failed", from, to);
    check_aligned(p, to);
    check(usable_size(p, to) >= to, "realloc from %zu to %zu: %zu usable bytes", from, to,
          usable_size(p, to));
    check_moved(p, (void *)origin, kept, 3);
    memset(p + kept, 4, to - kept);
    p = realloc(p, from);
    check(p, "realloc from %zu to %zu bytes failed", to, from);
    check_moved(p, (void *)origin, kept, 3);
    check_filled(before, from / 2 + 1, 1);
    check_filled(after, from / 3 + 1, 2);
    free(after);
    free(p);
    free(before);
}

int main(int argc, char **argv) {
    size_t largest = (size_t)argument(argc, argv, 1, 3000000), sizes[100], count = 0;
    for (size_t size = 1; size <= largest; size = size < 40 ? size + 5 : size * 7 / 4)
        sizes[count++] = size;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            resize(sizes[i], sizes[j]);
    return 0;
}
