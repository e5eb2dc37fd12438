/* Passes an invalid alignment to free_aligned_sized. */
#include "crime.h"

int main(void) {
    char *volatile block = aligned_alloc(64, 128);
    if (free_aligned_sized)
        free_aligned_sized(block, 48, 128);
    return 0;
}
