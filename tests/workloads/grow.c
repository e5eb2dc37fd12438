/*
 * grow --kind vectors|strings [--threads N]: many arrays grow side by side by realloc, to drawn
 * lengths.
 *
 * Stands for: vectors that double when they are full; strings that are appended to, piece by
 * piece.
 * Shows: what realloc costs: whether it notices that the block is large enough already, whether
 * it can use the room behind it, how fast it copies. Because other arrays grow in between, the
 * room behind is rarely free by chance. Peak memory shows whether the holes that moved blocks
 * leave are used again.
 * --kind vectors: elements of 8 bytes, capacity doubles from 4 elements on.
 * --kind strings: pieces of 1 to 64 bytes, and a realloc to the exact length for each.
 */
#include "program.h"

enum { ARRAYS = 512 };

struct array {
    unsigned char *data;
    uint32_t length, capacity, goal; /* bytes */
};

static uint32_t pieces;
static int strings;
static struct array arrays[THREADS][ARRAYS];

/* Reads all bytes, as a program would. */
static uint64_t array_end(struct array *array)
{
    uint64_t sum = 0, word = 0;
    for (uint32_t i = 0; i + 8 <= array->length; i += 8) {
        memcpy(&word, array->data + i, 8);
        sum += word;
    }
    free(array->data);
    memset(array, 0, sizeof *array);
    return sum;
}

static void append(struct array *array, uint32_t bytes, unsigned char value)
{
    uint32_t length = array->length + bytes;
    if (length > array->capacity) {
        uint32_t doubled = array->capacity ? 2 * array->capacity : 32;
        array->capacity = strings || doubled < length ? length : doubled;
        array->data = (unsigned char *)must_have(realloc(array->data, array->capacity));
    }
    memset(array->data + array->length, value, bytes);
    array->length = length;
}

static void work(struct worker *worker)
{
    struct array *mine = arrays[worker->index];
    for (uint32_t i = 0; i < pieces; i++) {
        struct array *array = &mine[draw(&worker->seed, ARRAYS)];
        if (array->length >= array->goal) {
            worker->sum += array_end(array);
            array->goal = (strings ? 4 : 16) * size_drawn(&worker->seed);
        }
        append(array, strings ? 1 + draw(&worker->seed, 64) : 8, (unsigned char)i);
    }
    for (uint32_t i = 0; i < ARRAYS; i++)
        worker->sum += array_end(&mine[i]);
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    strings = strcmp(option(argc, argv, "--kind", "vectors"), "strings") == 0;
    pieces = scaled(argc, argv, strings ? 4000000 : 60000000) / threads;
    sizes_begin(8192);
    return finish(workers_run(threads, work));
}
