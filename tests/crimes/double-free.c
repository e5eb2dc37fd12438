/* Frees a block twice in a row. */
#include "crime.h"

int main(void) {
    void *volatile block = malloc(100);
    free(block);
    free(block);
    return 0;
}
