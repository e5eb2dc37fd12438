/* Writes a byte behind a block that is aligned to a cache line. */
#include "crime.h"

int main(void) {
    char *volatile block = aligned_alloc(64, 100);
    block[100] = 'x';
    free(block);
    return 0;
}
