/* Frees an address inside of the block: the one where it stopped reading. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    free(block + 32);
    return 0;
}
