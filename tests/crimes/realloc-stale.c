/* Writes through the address that a block had before it grew. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100), *volatile stale = block;
    block = realloc(block, 101);
    stale[0] = 'x';
    return 0;
}
