/*
 * One small malloc+free pair, in steady state, in three orders:
 *
 *     --order 0   tight     malloc free malloc free ...
 *     --order 1   lifo      100 mallocs, then 100 frees, the last block first
 *     --order 2   random    100 mallocs, then 100 frees in an order drawn beforehand
 *
 * Two sections, of --pairs and of three times as many: their difference does not contain the cost
 * of beginning and ending a section, nor anything that happens once. --size is the block's (default
 * 32 bytes). With --company 1 the process has a second thread, which does nothing.
 */
#include "workload.h"
#include <pthread.h>
#include <unistd.h>

enum { BATCH = 100, ORDERS = 64 };

static uint8_t (*shuffled)[BATCH];
static char *block[BATCH];
static size_t size;

static char *take(void) {
    char *p = malloc(size);
    if (p == NULL)
        workload_end("out of memory");
    *p = 1;
    return p;
}

static size_t tight(size_t pairs) {
    size_t done = 0;
    for (; done < pairs && !enough; done++)
        free(take());
    return done;
}

static size_t batches(size_t pairs, bool random) {
    size_t done = 0;
    for (; done < pairs && !enough; done += BATCH) {
        const uint8_t *order = random ? shuffled[done / BATCH % ORDERS + 1] : shuffled[0];
        for (size_t i = 0; i < BATCH; i++)
            block[i] = take();
        for (size_t i = 0; i < BATCH; i++)
            free(block[order[i]]);
    }
    return done;
}

static size_t pairs_run(int order, size_t pairs) {
    return order == 0 ? tight(pairs) : batches(pairs, order == 2);
}

/* Row 0 is the reverse of allocation; the others are Fisher-Yates shuffles. */
static void orders_draw(void) {
    shuffled = table_new(ORDERS + 1, sizeof *shuffled);
    for (size_t row = 0; row <= ORDERS; row++) {
        for (size_t i = 0; i < BATCH; i++)
            shuffled[row][i] = (uint8_t)(BATCH - 1 - i);
        for (size_t i = BATCH - 1; row > 0 && i > 0; i--) {
            size_t k = draw((uint32_t)i + 1);
            uint8_t other = shuffled[row][k];
            shuffled[row][k] = shuffled[row][i];
            shuffled[row][i] = other;
        }
    }
}

static void *idle(void *unused) {
    for (;;)
        pause();
    return unused;
}

int main(int argc, char **argv) {
    pthread_t other;
    int order = (int)option(argc, argv, "--order", 0);
    size_t pairs = (size_t)option(argc, argv, "--pairs", 1000);
    size_t warm = (size_t)option(argc, argv, "--warm", 20000);
    size = (size_t)option(argc, argv, "--size", 32);
    workload_begin(argc, argv);
    orders_draw();
    if (option(argc, argv, "--company", 0) != 0 && pthread_create(&other, NULL, idle, NULL) != 0)
        workload_end("no thread");

    pairs_run(order, warm);
    for (size_t length = pairs; length <= 3 * pairs; length += 2 * pairs) {
        section_begin();
        size_t done = pairs_run(order, length);
        section_end(2 * done);
    }
    workload_end(NULL);
}
