/* Says another alignment when it frees than when it allocated. */
#include "crime.h"

int main(void) {
    char *volatile block = aligned_alloc(64, 128);
    if (free_aligned_sized)
        free_aligned_sized(block, 32, 128);
    return 0;
}
