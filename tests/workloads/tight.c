/*
 * tight [--size BYTES] [--threads N]: a block is freed as soon as it was allocated, again and
 * again.
 *
 * Stands for: temporaries. A function needs a buffer, a formatted string, a node, and drops it.
 * Shows: the bare price of a pair, while all that the malloc touches is in the nearest cache.
 * Large sizes show up to which size a pair is that cheap: above its quick lists, a malloc takes a
 * lock or makes a system call.
 * --size: of every block; 0 draws each from the distribution (sizes.h).
 */
#include "program.h"

static uint32_t pairs, size;

static void work(struct worker *worker)
{
    for (uint32_t i = 0; i < pairs; i++)
        worker->sum += block_end(block_new(size ? size : size_drawn(&worker->seed), i));
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    size = option_number(argc, argv, "--size", 0);
    pairs = scaled(argc, argv, 40000000) / threads;
    sizes_begin(SIZE_LARGEST);
    return finish(workers_run(threads, work));
}
