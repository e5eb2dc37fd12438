/*
 * inbox: another thread frees six million blocks of the main thread, which then makes single calls.
 *
 * Stands for: a producer that resumes its work after its consumers have caught up.
 * Shows: whether an owner takes back all blocks that others freed within one call. The more there
 * are, the longer that call takes.
 */
#include "latency.h"

enum { SLOTS = 1000 };

static struct heap heap;

static void *consume(void *argument)
{
    heap_drop(&heap, 0);
    return argument;
}

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    static void *slot[SLOTS];
    uint64_t seed = 5;
    sizes_begin(128);
    size_t bytes = scaled(256ul * MIB, MIB);
    heap = heap_new(bytes, 1);
    heap_fill(&heap, bytes);
    pthread_join(thread_new(consume, NULL), NULL);
    latency_begin();
    for (size_t calls = scaled(2000000, 1000); calls > 0; calls--) {
        void **place = &slot[draw(&seed, SLOTS)];
        if (*place) {
            timed_free(*place);
            *place = NULL;
        } else {
            *place = timed_malloc(size_drawn(&seed));
        }
    }
    latency_end();
    life_end();
}
