/* Frees a block with another size than it was allocated with. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    if (free_sized)
        free_sized(block, 1000);
    return 0;
}
