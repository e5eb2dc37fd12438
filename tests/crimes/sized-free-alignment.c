/* Frees a block with another alignment than it was allocated with. */
#include "crime.h"

int main(void) {
    char *volatile block = aligned_alloc(64, 128);
    if (free_aligned_sized)
        free_aligned_sized(block, 32, 128);
    return 0;
}
