/* Says another size when it frees than when it allocated. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    if (free_sized)
        free_sized(block, 1000);
    return 0;
}
