/* Says a smaller size when it frees than when it allocated. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    if (free_sized)
        free_sized(block, 99);
    return 0;
}
