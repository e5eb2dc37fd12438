/*
 * swell [--threads N]: arrays grow side by side by realloc to some MiB each, a quarter at a time.
 *
 * Stands for: messages, images and result sets that are read piece by piece into a buffer whose
 * final size is unknown; several at once, as a server or a loader has them.
 * Shows: what it costs to grow a block that is large, though not huge. To copy a MiB takes longer
 * than to ask the kernel to move its pages; new memory for each step costs a fault for each page.
 * Because several arrays grow, the room behind each is often taken by another one.
 */
#include "program.h"

enum { ARRAYS = 8, FIRST = 32 << 10, LEAST = 1 << 20, OCTAVES = 3, PAGE = 4096 };

struct array {
    unsigned char *data;
    size_t length, goal;
};

static uint32_t steps;
static struct array arrays[THREADS][ARRAYS];

static uint64_t array_end(struct array *array)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < array->length; i += PAGE)
        sum += array->data[i] * (i + 1);
    free(array->data);
    memset(array, 0, sizeof *array);
    return sum;
}

/* Drawn between 1 and 8 MiB, every power of two as likely as the next. */
static size_t goal_drawn(uint64_t *seed)
{
    size_t low = (size_t)LEAST << draw(seed, OCTAVES);
    return low + draw(seed, (uint32_t)low);
}

static void work(struct worker *worker)
{
    struct array *mine = arrays[worker->index];
    for (uint32_t i = 0; i < steps; i++) {
        struct array *array = &mine[draw(&worker->seed, ARRAYS)];
        if (array->length >= array->goal) {
            worker->sum += array_end(array);
            array->goal = goal_drawn(&worker->seed);
        }
        size_t length = array->length ? array->length + (array->length / 4 & ~(size_t)15) : FIRST;
        array->data = (unsigned char *)must_have(realloc(array->data, length));
        memset(array->data + array->length, (int)i, length - array->length);
        array->length = length;
    }
    for (int i = 0; i < ARRAYS; i++)
        worker->sum += array_end(&mine[i]);
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    if (threads == 0 || threads > THREADS)
        return 2;
    steps = scaled(argc, argv, 5000) / threads;
    return finish(workers_run(threads, work));
}
