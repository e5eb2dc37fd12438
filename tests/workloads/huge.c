/*
 * huge [--threads N]: one array grows by realloc from 64 KiB to 256 MiB, an eighth at a time.
 *
 * Stands for: reading a file or a stream of unknown length, a growing list of results.
 * Shows: whether a huge block grows by mremap, which moves pages and not bytes, or is copied each
 * time, with the old and the new block in memory at the same time.
 */
#include "program.h"

enum { FIRST = 64 << 10, LAST = 256 << 20, TIMES = 6, PAGE = 4096 };

static uint32_t times;
static size_t last;

static void work(struct worker *worker)
{
    for (uint32_t t = 0; t < times; t++) {
        unsigned char *data = NULL;
        size_t length = 0;
        for (size_t next = FIRST; next <= last; next += next / 8 & ~(size_t)15) {
            data = (unsigned char *)must_have(realloc(data, next));
            memset(data + length, (int)(next >> 4), next - length);
            length = next;
        }
        for (size_t i = 0; i < length; i += PAGE)
            worker->sum += data[i] * (i + t);
        free(data);
    }
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    times = TIMES / threads;
    last = scaled(argc, argv, LAST);
    return finish(workers_run(threads, work));
}
