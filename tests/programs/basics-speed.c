/* The cost of a call does not grow with the number of live blocks. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FEW = 500, MANY = 16000, CALLS = 2000 };
static void *blocks[MANY], *made[CALLS];

/* Nanoseconds of processor time for one malloc among that many blocks, with holes between them
 * that are too small for the request. */
static double price_among(int blocks_now, size_t size) {
    static int count;
    int from = count;
    for (; count < blocks_now; count++)
        blocks[count] = malloc(40);
    for (int i = from; i < count; i += 2)
        free(blocks[i]);
    clock_t begin = clock();
    for (int i = 0; i < CALLS; i++)
        made[i] = malloc(size);
    double price = (double)(clock() - begin) * (1e9 / CLOCKS_PER_SEC) / CALLS;
    for (int i = 0; i < CALLS; i++)
        free(made[i]);
    return price;
}

int main(void) {
    double few = price_among(FEW, 200), many = price_among(MANY, 400);
    fprintf(stderr, "%.0f ns among %d blocks, %.0f ns among %d\n", few, FEW, many, MANY);
    return many > 2000 && many > 3 * few;
}
