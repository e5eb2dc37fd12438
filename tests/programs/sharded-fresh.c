/* Other threads free all blocks of a page, and its owner would carve the same page next. Its record
 * may come to describe a page of another thread, which the owner must not carve: it would get blocks
 * in memory that the other thread gives back.
 *
 *     sharded-fresh
 */
#include "program.h"

#include <malloc.h>

enum { SIZE = 1024, PAGE = 64, OTHERS = 8, LARGE = 60000, LARGES = 40 };
static void *block[2 * PAGE];
static pthread_barrier_t step;

static void *free_second(void *arg) {
    for (int i = PAGE; i < 2 * PAGE; i++)
        free(block[i]);
    malloc_trim(0); /* sends all batches, so the page is given back */
    return arg;
}

static void *other(void *arg) {
    free(malloc(SIZE)); /* a page of its own, of which little is carved */
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    malloc_trim(0); /* gives that page back */
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return arg;
}

int main(void) {
    pthread_t ids[OTHERS];
    pthread_barrier_init(&step, NULL, OTHERS + 1);
    for (int i = 0; i < 2 * PAGE; i++)
        block[i] = malloc(SIZE);
    for (int i = 0; i < PAGE / 2; i++)
        free(block[i]);
    block[0] = malloc(SIZE); /* from the first page again: the second is full, and forgotten */
    join(start(free_second, NULL));
    malloc_trim(0); /* and so does its record */
    for (int i = 0; i < OTHERS; i++)
        ids[i] = start(other, NULL);
    pthread_barrier_wait(&step);
    for (int i = 1; i <= PAGE / 2; i++)
        block[i] = malloc(SIZE); /* the first page runs out */
    free(block[PAGE / 2]);
    malloc_trim(0);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    char *mine = malloc(SIZE);
    memset(mine, 'm', SIZE);
    for (int i = 0; i < LARGES; i++)
        memset(malloc(LARGE), 'l', LARGE);
    for (int i = 0; i < SIZE; i++)
        check(mine[i] == 'm', "a small block lies in a large one");
    pthread_barrier_wait(&step);
    for (int i = 0; i < OTHERS; i++)
        join(ids[i]);
    return 0;
}
