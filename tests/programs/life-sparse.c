/* A large buffer costs only the memory that is touched, whatever its size: the page that
 * the program writes to, and perhaps one that the malloc itself needs.
 *
 *     life-sparse [bytes of a buffer] [buffers] [MiB that the process uses already]
 */
#include "life.h"

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, MIB), warm;
    long count = argument(argc, argv, 2, 2000);
    warm = (size_t)argument(argc, argv, 3, 16) * MIB;
    memset(must_malloc(warm), 1, warm);
    long before = resident_mib();
    for (long i = 0; i < count; i++)
        memset(must_malloc(size), 1, 4096);
    long grew = resident_mib() - before, most = count * 8192 / MIB * 5 / 4 + 8;
    say("%ld buffers of %zu bytes, 4 KiB of each touched: +%ld MiB", count, size, grew);
    check(grew <= most, "%ld MiB became resident, %ld are touched", grew, count * 4096 / MIB);
    return 0;
}
