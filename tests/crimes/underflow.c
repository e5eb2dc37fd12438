/* Writes 4 bytes in front of a block. */
#include "crime.h"

int main(void) {
    int *volatile numbers = malloc(10 * sizeof *numbers);
    numbers[-1] = 1;
    free(numbers);
    return 0;
}
