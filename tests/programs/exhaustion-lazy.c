/* Untouched memory costs nothing: calloc of gigabytes does not clear them, and realloc
 * of a large block of which little was touched moves pages, not bytes.
 *
 *     exhaustion-lazy [MiB] [MiB that may become resident]
 */
#include "program.h"

int main(int argc, char **argv) {
    size_t mib = 1 << 20, size = (size_t)argument(argc, argv, 1, 1024) * mib;
    long allowed = argument(argc, argv, 2, 8) * 1024, start_kib = resident_kib();
    char *p = calloc(size / mib, mib);
    check(p, "calloc of %zu MiB failed", size / mib);
    for (size_t i = 0; i < size; i += size / 4)
        check_zero(p + i, 100);
    fill(p, 100, 1);
    fill(p + size - 100, 100, 2);
    check(resident_kib() - start_kib <= allowed, "calloc touched %ld KiB", resident_kib() - start_kib);

    char *in_the_way = must_malloc(size / 4); /* so that it cannot just be extended */
    uintptr_t first = (uintptr_t)p, last = (uintptr_t)p + size - 100;
    p = realloc(p, 2 * size);
    check(p, "realloc to %zu MiB failed", 2 * size / mib);
    check_moved(p, (void *)first, 100, 1);
    check_moved(p + size - 100, (void *)last, 100, 2);
    check(resident_kib() - start_kib <= allowed, "realloc touched %ld KiB", resident_kib() - start_kib);

    p = realloc(p, size / 2);
    check(p, "realloc to %zu MiB failed", size / 2 / mib);
    check_moved(p, (void *)first, 100, 1);
    free(p);
    free(in_the_way);
    check(resident_kib() - start_kib <= allowed, "%ld KiB stayed", resident_kib() - start_kib);
    return 0;
}
