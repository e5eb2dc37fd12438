/* Frees a block twice, with many calls in between. */
#include "crime.h"

int main(void) {
    void *volatile block = malloc(100), *others[1000];
    free(block);
    for (int i = 0; i < 1000; i++)
        others[i] = malloc(200);
    for (int i = 0; i < 1000; i++)
        free(others[i]);
    free(block);
    return 0;
}
