/* Frees a variable on the stack. */
#include "crime.h"

int main(void) {
    char array[64] __attribute__((aligned(16))) = "";
    char *volatile block = array;
    free(malloc(64));
    free(block);
    return 0;
}
