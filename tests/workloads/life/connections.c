/*
 * connections: a process that holds 16 MiB allocates a thousand buffers of 1 MiB and a thousand of
 * 300,000 bytes, and writes to the first 4 KiB of each.
 *
 * Stands for: servers with a buffer for each connection, sized for the largest message there can
 * be; most connections never send one.
 * Shows: whether memory becomes resident that the program does not touch. Huge pages are the usual
 * reason: the first write to one makes 2 MiB resident. `live` is what was written.
 *
 *     points: open
 */
#include "life.h"

enum { WRITTEN = 4096 };

int main(int argc, char **argv)
{
    life_begin(argc, argv);
    block_new(16 * MIB);
    life_restart();
    size_t connections = scaled(1000, 10), live = 0;
    static const size_t sizes[] = {1 * MIB, 300000};
    for (size_t i = 0; i < 2 * connections; i++) {
        char *buffer = malloc(sizes[i % 2]);
        if (buffer == NULL)
            life_fail("out of memory");
        memset(buffer, 1, WRITTEN);
        live += WRITTEN;
    }
    point("open", live);
    life_end();
}
