/* Frees an address that malloc cannot return, because it is not aligned. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    free(block + 3);
    return 0;
}
