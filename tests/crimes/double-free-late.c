/* Frees a block twice; in between it frees more than any quarantine holds. */
#include "crime.h"

int main(void) {
    void *volatile block = malloc(100), *volatile fence = malloc(100);
    free(block);
    for (int i = 0; i < 5; i++) {
        void *others[100];
        for (int j = 0; j < 100; j++)
            others[j] = malloc(100000);
        for (int j = 0; j < 100; j++)
            free(others[j]);
    }
    free(block);
    free(fence);
    return 0;
}
