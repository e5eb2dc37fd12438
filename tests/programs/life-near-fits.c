/* Among thousands of free runs that are each a little too short, malloc does not examine
 * them one by one: a call costs about as much as among fifty.
 *
 *     life-near-fits [free runs]
 */
#include "life.h"

enum { FEW = 50, MANY = 5000, CALLS = 40, GRANULE = 65536 };

/* Microseconds for a malloc for which every free run is too short, in the best of several batches. */
static double cost_among(long runs) {
    char **blocks = table((size_t)runs, sizeof *blocks);
    double best = 1e9;
    for (long i = 0; i < runs; i++) {
        blocks[i] = must_malloc(33 * GRANULE);
        must_malloc(4 * GRANULE); /* stays live, so that two runs never merge */
    }
    drop(blocks, runs);
    for (int batch = 0; batch < 5; batch++) {
        double begin = own_time();
        for (int i = 0; i < CALLS; i++)
            must_malloc(40 * GRANULE);
        double took = (own_time() - begin) / CALLS * 1e6;
        best = took < best ? took : best;
    }
    return best;
}

int main(int argc, char **argv) {
    long many = argument(argc, argv, 1, MANY);
    double among_few = cost_among(FEW), among_many = cost_among(many);
    say("a malloc among %d free runs: %.2f us, among %ld: %.2f us", FEW, among_few, many, among_many);
    check(among_many <= 6 * among_few + 3, "%.1f us among %d free runs, %.1f us among %ld", among_few,
          FEW, among_many, many);
    return 0;
}
