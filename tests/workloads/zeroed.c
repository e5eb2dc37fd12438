/*
 * zeroed [--mib N] [--threads N]: a large block comes from calloc, is written, and freed, again
 * and again.
 *
 * Stands for: matrices, bitmaps, hash tables and frame buffers that start at zero.
 * Shows: one of two prices. Memory fresh from the kernel is zero already, but costs a fault for
 * each page; memory that was kept costs no fault, but must be cleared.
 */
#include "program.h"

enum { PAGE = 4096 };

static uint32_t times;
static size_t length;

static void work(struct worker *worker)
{
    for (uint32_t t = 0; t < times; t++) {
        unsigned char *data = (unsigned char *)must_have(calloc(length / PAGE, PAGE));
        for (size_t i = 0; i < length; i += PAGE) {
            worker->sum += data[i + draw(&worker->seed, PAGE)];
            memset(data + i, (int)(i / PAGE + t), PAGE);
        }
        for (size_t i = 0; i < length; i += PAGE)
            worker->sum += data[i] * (i / PAGE + t);
        free(data);
    }
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    if (threads == 0 || threads > THREADS)
        return 2;
    length = (size_t)option_number(argc, argv, "--mib", 100) << 20;
    times = scaled(argc, argv, 5) / threads;
    return finish(workers_run(threads, work));
}
