/*
 * Cost per call against live blocks: keep --live N blocks, then replace random ones.
 *
 *     slot[0] slot[1] ... slot[N-1]      free(slot[k]); slot[k] = malloc(size);   k and size drawn
 *
 * Sizes are 16 to 272 bytes, the square of a uniform draw, so most are small (mean about 100).
 * Every block is written once after it is allocated, as programs do. --age N replacements are not
 * measured, so that the free blocks lie as in a program that has run for some time; then --calls
 * calls are measured, but at least --least of them even if the budget is spent, because a mean of
 * a few calls is not reliable.
 */
#include "workload.h"

static char **slot;
static size_t live;

static size_t size_drawn(void) {
    size_t x = draw(1024);
    return 16 + ((x * x) >> 12);
}

/* Replaces random blocks. Returns the number of replacements: `limit`, or fewer if `enough` is set
 * after `least` of them, or if memory runs out. */
static size_t replace(size_t limit, size_t least, const char **stopped) {
    size_t done = 0;
    for (; done < limit && !(enough && done >= least); done++) {
        uint32_t k = draw((uint32_t)live);
        free(slot[k]);
        slot[k] = malloc(size_drawn());
        if (slot[k] == NULL) {
            *stopped = "out of memory";
            break;
        }
        *slot[k] = 1;
    }
    return done;
}

int main(int argc, char **argv) {
    const char *stopped = NULL;
    live = (size_t)option(argc, argv, "--live", 1000);
    size_t calls = (size_t)option(argc, argv, "--calls", 200000);
    size_t least = (size_t)option(argc, argv, "--least", 2);
    size_t age = (size_t)option(argc, argv, "--age", (double)live);
    slot = table_new(live, sizeof *slot);
    workload_begin(argc, argv);

    for (size_t i = 0; i < live; i++) {
        if (enough)
            workload_end("out of time while filling");
        slot[i] = malloc(size_drawn());
        if (slot[i] == NULL)
            workload_end("out of memory while filling");
        *slot[i] = 1;
    }
    replace(age, 0, &stopped);
    if (stopped)
        workload_end("out of memory while ageing");
    if (enough)
        workload_end("out of time while ageing");

    section_begin();
    size_t done = replace(calls / 2, least / 2, &stopped);
    section_end(2 * done);
    workload_end(stopped);
}
