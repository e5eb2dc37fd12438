/* Writes a byte behind a block that it never frees: found at exit. */
#include "crime.h"

static char *volatile kept;

int main(void) {
    kept = malloc(20);
    kept[20] = '\0';
    return 0;
}
