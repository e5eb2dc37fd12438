/*
 * toggle [--live N] [--threads N]: of 2 N slots a random one is filled if it is empty, and emptied
 * if it is filled.
 *
 * Stands for: a store in which objects come and go independently of each other: sessions,
 * subscriptions, orders.
 * Shows: single calls. In `replace` a malloc follows each free, so it can take the block that was
 * just freed; here two frees, or two mallocs, follow each other half of the time, at addresses all
 * over the live blocks.
 */
#include "program.h"

enum { MOST = 1 << 20 };

static uint32_t steps, slots;
static struct block *table[MOST];

static void work(struct worker *worker)
{
    struct block **mine = table + worker->index * slots;
    for (uint32_t k = 0; k < slots; k += 2)
        mine[k] = block_new(size_drawn(&worker->seed), k);
    for (uint32_t i = 0; i < steps; i++) {
        struct block **slot = &mine[draw(&worker->seed, slots)];
        if (*slot != NULL) {
            worker->sum += block_end(*slot);
            *slot = NULL;
        } else {
            *slot = block_new(size_drawn(&worker->seed), i);
        }
    }
    for (uint32_t k = 0; k < slots; k++)
        if (mine[k] != NULL)
            worker->sum += block_end(mine[k]);
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    uint32_t live = option_number(argc, argv, "--live", 400000);
    if (threads == 0 || threads > THREADS || live > MOST / 2)
        return 2;
    slots = scaled(argc, argv, 2 * live) / threads;
    if (slots == 0)
        slots = 1;
    steps = scaled(argc, argv, 8000000) / threads;
    sizes_begin(SIZE_LARGEST);
    return finish(workers_run(threads, work));
}
