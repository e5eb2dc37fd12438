/*
 * buffers [--from KIB] [--to KIB] [--threads N]: a few large blocks live at a time, each for a
 * moment.
 *
 * Stands for: images, file contents, network buffers, matrices, audio and video frames.
 * Shows: what becomes of a large block when it is freed. If it is unmapped at once, the next one
 * pays for a new mapping, and for a page fault every 4 KiB; if it is kept but purged, for the
 * faults; if it is kept as it is, it costs memory. Peak memory shows which mallocs keep too much.
 *
 * Sizes are drawn between --from and --to, every power of two as likely as the next. Each block
 * is filled, and read once before it is freed.
 */
#include "program.h"

enum { LIVE = 16, PAGE = 4096 };

struct buffer {
    unsigned char *data;
    size_t length;
};

static uint32_t megabytes, from, to;
static struct buffer table[THREADS][LIVE];

static size_t length_drawn(uint64_t *seed)
{
    uint32_t octaves = 0;
    while (from << (octaves + 1) <= to)
        octaves++;
    size_t low = (size_t)from << (10 + draw(seed, octaves));
    return low + draw(seed, (uint32_t)low);
}

static uint64_t buffer_end(struct buffer *buffer)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < buffer->length; i += PAGE)
        sum += buffer->data[i] * (i + 1);
    free(buffer->data);
    return sum;
}

static void work(struct worker *worker)
{
    struct buffer *mine = table[worker->index];
    for (size_t done = 0; done < (size_t)megabytes << 20;) {
        struct buffer *buffer = &mine[draw(&worker->seed, LIVE)];
        worker->sum += buffer_end(buffer);
        buffer->length = length_drawn(&worker->seed);
        buffer->data = (unsigned char *)must_have(malloc(buffer->length));
        memset(buffer->data, (int)buffer->length, buffer->length);
        done += buffer->length;
    }
    for (int i = 0; i < LIVE; i++)
        worker->sum += buffer_end(&mine[i]);
}

int main(int argc, char **argv)
{
    uint32_t threads = option_number(argc, argv, "--threads", 1);
    from = option_number(argc, argv, "--from", 256);
    to = option_number(argc, argv, "--to", 8192);
    if (from == 0 || to < 2 * from || threads > THREADS)
        return 2;
    megabytes = scaled(argc, argv, 5000) / threads;
    return finish(workers_run(threads, work));
}
