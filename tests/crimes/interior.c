/* Frees not the block, but where it stopped reading. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    free(block + 32);
    return 0;
}
