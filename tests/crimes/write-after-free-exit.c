/* Writes to a block that it has freed, and ends: found at exit. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    free(block);
    memset(block + 8, 0, 16);
    return 0;
}
