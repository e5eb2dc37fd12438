/* Hundreds of MiB have been free for a while. No single call gives all of it back: none
 * takes milliseconds, or returns a large part of it.
 *
 *     life-longest-free [blocks of 256 KiB] [most milliseconds]
 */
#include "life.h"

enum { SIZE = 256 << 10 };

int main(int argc, char **argv) {
    long count = argument(argc, argv, 1, 3000), limit = argument(argc, argv, 2, 3);
    char **blocks = table((size_t)count, sizeof *blocks);
    long most = 0;
    double best = 1e9; /* of two rounds, because a busy machine seldom disturbs both */
    for (int round = 0; round < 2; round++) {
        for (long i = 0; i < count; i++) {
            memset(blocks[i] = must_malloc(SIZE), 1, SIZE);
            must_malloc(70000); /* stays live, so that free runs do not merge */
        }
        drop(blocks, count);
        pause_ms(700);
        double longest = 0;
        long left = resident_kib() / 1024;
        for (size_t i = 0; i < 1000; i++) {
            double begin = own_time();
            char *p = must_malloc(70000 + i * 100);
            double between = own_time();
            free(p);
            double end = own_time(), mallocs = between - begin, frees = end - between;
            double longer = (mallocs > frees ? mallocs : frees) * 1e3;
            longest = longer > longest ? longer : longest;
            long now_left = resident_kib() / 1024;
            most = left - now_left > most ? left - now_left : most;
            left = now_left;
        }
        best = longest < best ? longest : best;
    }
    say("%ld MiB idle: longest call %.2f ms, most given back at once %ld MiB, %ld MiB left", count / 4,
        best, most, resident_mib());
    check(most <= 64, "a call gave %ld MiB back at once", most);
    check(best <= (double)limit, "a call took %.1f ms with %ld MiB idle", best, count / 4);
    return 0;
}
