/* Aligned blocks are aligned, as large as requested and overlap no other, whichever of
 * the five functions made them and however many threads allocate at once.
 *
 *     threads-aligned [threads] [steps] [largest size] [largest alignment]
 */
#include "program.h"

enum { LIVE = 32 };
static long steps, largest, most;
static bool whole_pages; /* pvalloc is this malloc's own, so its blocks may reach this free */

static void *aligned(uint64_t *random, size_t alignment, size_t size) {
    size_t whole = (size + alignment - 1) / alignment * alignment; /* as C11 wanted it */
    void *p = NULL;
    switch (chance_below(random, 5)) {
    case 0:
        check(posix_memalign(&p, alignment, size) == 0, "posix_memalign(%zu, %zu) failed",
              alignment, size);
        return p;
    case 1: /* dumb's blocks are no larger than the largest size that is asked for */
        return whole <= (size_t)largest ? aligned_alloc(alignment, whole) : memalign(alignment, size);
    case 2:
        return memalign(alignment, size);
    case 3:
        return whole_pages && alignment <= 4096 ? valloc(size) : memalign(alignment, size);
    default:
        return whole_pages && alignment <= 4096 ? pvalloc(size) : memalign(alignment, size);
    }
}

static void *work(void *arg) {
    uint64_t seed = (uint64_t)(uintptr_t)arg + 1, random = seed;
    struct {
        void *p;
        size_t size;
    } blocks[LIVE] = {0};
    for (long step = 0; step < steps; step++) {
        size_t i = chance_below(&random, LIVE);
        if (blocks[i].p) {
            check_filled(blocks[i].p, blocks[i].size, seed);
            free(blocks[i].p);
        }
        size_t alignment = sizeof(void *) << chance_below(&random, 20);
        while (alignment > (size_t)most)
            alignment /= 2;
        size_t size = 1 + chance_size(&random, (size_t)largest - 1); /* not 0: see semantics-zero.c */
        void *p = aligned(&random, alignment, size);
        check(p, "no block of %zu bytes aligned to %zu", size, alignment);
        check((uintptr_t)p % alignment == 0, "%p is not aligned to %zu", p, alignment);
        check(usable_size(p, size) >= size, "%p: usable size %zu, asked for %zu", p,
              usable_size(p, size), size);
        fill(p, size, seed);
        blocks[i].p = p;
        blocks[i].size = size;
    }
    for (size_t i = 0; i < LIVE; i++)
        free(blocks[i].p);
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 6);
    steps = argument(argc, argv, 2, 5000);
    largest = argument(argc, argv, 3, 20000);
    most = argument(argc, argv, 4, 1 << 20);
    whole_pages = !strcmp(provider("pvalloc"), provider("malloc"));
    run_threads(threads, work);
    return 0;
}
