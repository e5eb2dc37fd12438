/* Writes 8 bytes behind a block of 24: the loop counts one element too many. */
#include "crime.h"

int main(void) {
    long *numbers = malloc(3 * sizeof *numbers);
    for (volatile int i = 0; i <= 3; i++)
        numbers[i] = i;
    free(numbers);
    return 0;
}
