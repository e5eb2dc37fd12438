/* Threads that share nothing but malloc do not disturb each other: every block holds
 * what its owner wrote, however the four calls are mixed.
 *
 *     threads-private [threads] [steps] [live blocks of a thread] [largest size]
 */
#include "program.h"

static long steps, live, largest;

struct block {
    unsigned char *p;
    size_t size;
};

/* Fills an empty slot with a new block, by malloc or calloc. */
static struct block block_make(uint64_t *random, uint64_t seed) {
    struct block b = {.size = chance_size(random, (size_t)largest)};
    if (chance_below(random, 3) == 0) {
        b.p = calloc(1, b.size);
        check(b.p || b.size == 0, "calloc(1, %zu) failed", b.size);
        check_zero(b.p, b.size);
    } else {
        b.p = must_malloc(b.size);
    }
    fill(b.p, b.size, seed);
    return b;
}

/* Resizes the block; the old content stays, up to the smaller of both sizes. */
static struct block block_resize(struct block b, uint64_t *random, uint64_t seed) {
    size_t size = 1 + chance_size(random, (size_t)largest);
    uintptr_t origin = (uintptr_t)b.p;
    unsigned char *p = realloc(b.p, size);
    check(p, "realloc(%#zx, %zu) failed", (size_t)origin, size);
    check_moved(p, (void *)origin, size < b.size ? size : b.size, seed);
    fill(p, size, seed);
    return (struct block){p, size};
}

static void *work(void *arg) {
    uint64_t seed = (uint64_t)(uintptr_t)arg + 1, random = seed;
    struct block *blocks = calloc((size_t)live, sizeof *blocks);
    check(blocks, "calloc of %ld records failed", live);
    for (long step = 0; step < steps; step++) {
        struct block *b = &blocks[chance_below(&random, (size_t)live)];
        if (!b->p) {
            *b = block_make(&random, seed);
            continue;
        }
        check_filled(b->p, b->size, seed);
        check(usable_size(b->p, b->size) >= b->size, "%p: usable size %zu, asked for %zu",
              (void *)b->p, usable_size(b->p, b->size), b->size);
        if (chance_below(&random, 3) == 0) {
            *b = block_resize(*b, &random, seed);
        } else {
            free(b->p);
            b->p = NULL;
        }
    }
    for (long i = 0; i < live; i++)
        free(blocks[i].p);
    free(blocks);
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 8);
    steps = argument(argc, argv, 2, 20000);
    live = argument(argc, argv, 3, 200);
    largest = argument(argc, argv, 4, 40000);
    run_threads(threads, work);
    return 0;
}
