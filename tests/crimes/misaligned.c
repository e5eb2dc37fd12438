/* Frees an address that no malloc can have given. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    free(block + 3);
    return 0;
}
