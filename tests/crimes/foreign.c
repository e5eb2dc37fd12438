/* Frees an array that does not come from malloc. */
#include "crime.h"

static char array[64] __attribute__((aligned(16)));

int main(void) {
    char *volatile block = array;
    free(malloc(64));
    free(block);
    return 0;
}
