/*
 * A realloc to a size that fits in place, as most do when a string is appended to piece by piece.
 *
 *     realloc(block, n) with n from --size - 15 to --size, again and again
 *
 * If --size is a multiple of 16 (default 1,024 bytes), all of these are of one size class in any
 * malloc whose block sizes are multiples of 16. Two sections, of --calls and of three times as
 * many: as in pairs.c, their difference does not contain the cost of beginning and ending one.
 */
#include "workload.h"

static char *block;

static size_t stay(size_t size, size_t calls) {
    size_t done = 0;
    for (; done < calls && !enough; done++) {
        char *moved = realloc(block, size - done % 16);
        if (moved != block)
            workload_end("it moved");
    }
    return done;
}

int main(int argc, char **argv) {
    size_t size = (size_t)option(argc, argv, "--size", 1024);
    size_t calls = (size_t)option(argc, argv, "--calls", 1000);
    workload_begin(argc, argv);
    block = malloc(size);
    if (block == NULL)
        workload_end("out of memory");
    stay(size, calls);
    for (size_t length = calls; length <= 3 * calls; length += 2 * calls) {
        section_begin();
        size_t done = stay(size, length);
        section_end(done);
    }
    workload_end(NULL);
}
