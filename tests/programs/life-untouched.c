/* Large blocks that are never touched cost only addresses, of which a process has 128 TiB:
 * when blocks have used hundreds of GiB of them, small and large ones can still be allocated.
 *
 *     life-untouched [MiB of a block] [GiB in all]
 */
#include "life.h"

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, 31) << 20;
    long gib = argument(argc, argv, 2, 360), count = (gib << 30) / (long)size;
    for (long i = 0; i < count; i++)
        check(malloc(size), "malloc of %zu bytes failed after %ld GiB", size,
              (long)size / MIB * i / 1024);
    for (int i = 0; i < 4000; i++) {
        size_t less = i % 2 ? MIB : 65536;
        check(malloc(less), "malloc of %zu bytes failed after %ld GiB", less, gib);
    }
    for (size_t i = 0; i < 3000; i++) {
        size_t small = 200 + i * 8;
        memset(must_malloc(small), 1, small);
    }
    say("%ld blocks of %zu bytes: %ld MiB are resident", count, size, resident_mib());
    check(resident_mib() <= 96 + count * 8 / 1024, "untouched blocks made %ld MiB resident",
          resident_mib());
    return 0;
}
