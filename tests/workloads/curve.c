/*
 * Cost per call against live blocks: keep --live N blocks, then replace random ones.
 *
 *     slot[0] slot[1] ... slot[N-1]      free(slot[k]); slot[k] = malloc(size);   k and size drawn
 *
 * Sizes are 16 to 272 bytes, the square of an even draw, so small ones are the many (mean about
 * 100). Every block is written once when it is handed out, as programs do. N replacements go by
 * unmeasured, so that the free blocks lie where a program of some age has them (--age N says how
 * many); then --calls calls are measured, and at least --least of them even when the budget is
 * spent: where a call costs thousands of instructions, one alone is no average.
 */
#include "workload.h"

static char **slot;
static size_t live;

static size_t size_drawn(void) {
    size_t x = draw(1024);
    return 16 + ((x * x) >> 12);
}

/* Replaces random blocks; gives the number of replacements done: `limit`, or fewer when `enough`
 * is said after `least` of them, or memory ends. */
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
