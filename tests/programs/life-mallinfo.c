/* mallinfo2 reads counters: with millions of live blocks it takes no longer than with a
 * few, and its figure for live memory is right.
 *
 *     life-mallinfo [blocks] [most milliseconds]
 */
#include "life.h"

enum { SIZE = 56 };

/* The shortest of several calls, in ms, because other processes disturb some of them. */
static double shortest(void) {
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        double begin = own_time();
        mallinfo2();
        double took = (own_time() - begin) * 1e3;
        best = took < best ? took : best;
    }
    return best;
}

int main(int argc, char **argv) {
    long count = argument(argc, argv, 1, 4000000), limit = argument(argc, argv, 2, 4);
    for (int i = 0; i < 100; i++)
        must_malloc(SIZE);
    double few = shortest();
    size_t before = mallinfo2().uordblks;
    for (long i = 0; i < count; i++) {
        char *p = must_malloc(SIZE);
        if (i % 2)
            free(p);
    }
    double many = shortest();
    size_t live = mallinfo2().uordblks - before, least = (size_t)count / 2 * SIZE;
    say("mallinfo2: %.3f ms with 100 live blocks, %.3f ms with %ld", few, many, count / 2);
    check(live >= least && live <= 2 * least, "%zu bytes are live, mallinfo2 counts %zu", least, live);
    check(many <= (double)limit, "mallinfo2 took %.1f ms with %ld live blocks", many, count / 2);
    return 0;
}
