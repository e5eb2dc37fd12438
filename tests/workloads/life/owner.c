/*
 * owner [--main 0|1]: a thread frees all blocks that another one allocated, and then allocates as
 * much. The owner sleeps (0), or is the main thread and has ended by pthread_exit (1).
 *
 * Stands for: a loader thread that has done its work and waits for more; programs whose main
 * thread starts the others and ends.
 * Shows: whether memory that belongs to a thread that makes no calls can be used by others, or
 * given back.
 *
 *     points: full, freed (a second later), rebuilt
 */
#include "life.h"

static struct heap heap;
static size_t bytes;
static pthread_barrier_t filled;

static void free_and_rebuild(void)
{
    point("full", heap.live);
    heap_shuffle(&heap);
    heap_drop(&heap, 0);
    rest(1);
    free(malloc(100));
    point("freed", 0);
    heap_fill(&heap, bytes);
    point("rebuilt", heap.live);
    life_end();
}

static void *owner(void *argument)
{
    heap_fill(&heap, bytes);
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&filled); /* never passed */
    return argument;
}

static void *successor(void *owner)
{
    pthread_join(*(pthread_t *)owner, NULL);
    free_and_rebuild();
    return NULL;
}

int main(int argc, char **argv)
{
    static pthread_t self;
    life_begin(argc, argv);
    bytes = scaled(256ul * MIB, MIB);
    heap = heap_new(bytes, 1);
    sizes_begin(1024);
    if (life_option(argc, argv, "--main", 0) != 0) {
        self = pthread_self();
        heap_fill(&heap, bytes);
        thread_new(successor, &self);
        pthread_exit(NULL);
    }
    pthread_barrier_init(&filled, NULL, 2);
    thread_new(owner, NULL);
    pthread_barrier_wait(&filled);
    free_and_rebuild();
}
