/*
 * spike: eight threads allocate 1 GiB of mixed sizes together and free 95 % of it at random; then
 * they sleep. Two seconds later the process is measured.
 *
 * Stands for: a cache that is flushed, a query that needed far more than others do.
 * Shows: how much free memory a malloc can give back when one block in twenty is live. The pages
 * that hold a live block are counted: a malloc that does not move blocks needs at least these.
 *
 *     points: full, freed, later (with pages)
 */
#include "life.h"

enum { THREADS = 8, PAGE = 4096, KNOWN = 1 << 21 };

static struct heap heaps[THREADS];
static size_t share;
static pthread_barrier_t barrier;

static void *work(void *argument)
{
    struct heap *heap = argument;
    heap_fill(heap, share);
    pthread_barrier_wait(&barrier); /* full */
    pthread_barrier_wait(&barrier);
    heap_shuffle(heap);
    heap_drop(heap, heap->blocks / 20);
    pthread_barrier_wait(&barrier); /* freed */
    pthread_barrier_wait(&barrier); /* never passed: threads stay */
    return NULL;
}

static size_t live(void)
{
    size_t sum = 0;
    for (int t = 0; t < THREADS; t++)
        sum += heaps[t].live;
    return sum;
}

/* Enters the page in the table, an open hash. True if it was not there before. */
static bool page_add(uintptr_t *known, uintptr_t page)
{
    size_t at = (size_t)(page * 0x9e3779b97f4a7c15 >> 43);
    while (known[at % KNOWN] != 0 && known[at % KNOWN] != page)
        at++;
    bool new = known[at % KNOWN] == 0;
    known[at % KNOWN] = page;
    return new;
}

/* Bytes of all pages that hold a part of a live block. */
static size_t live_pages(void)
{
    uintptr_t *known = table_new(KNOWN, sizeof *known);
    size_t pages = 0;
    for (int t = 0; t < THREADS; t++) {
        for (size_t i = 0; i < heaps[t].blocks; i++) {
            uintptr_t start = (uintptr_t)heaps[t].block[i], end = start + heaps[t].block[i]->size;
            for (uintptr_t page = start / PAGE; page <= (end - 1) / PAGE; page++)
                pages += page_add(known, page);
        }
    }
    return pages * PAGE;
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    share = scaled(1024ul * MIB, THREADS * MIB) / THREADS;
    sizes_begin(SIZE_LARGEST);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int t = 0; t < THREADS; t++) {
        heaps[t] = heap_new(share, (uint64_t)t);
        thread_new(work, &heaps[t]);
    }
    pthread_barrier_wait(&barrier);
    point("full", live());
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    point("freed", live());
    rest(2);
    free(malloc(100));
    point_on_pages("later", live(), live_pages());
    life_end();
}
