/* Frees a block with a smaller size than it was allocated with. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    if (free_sized)
        free_sized(block, 99);
    return 0;
}
