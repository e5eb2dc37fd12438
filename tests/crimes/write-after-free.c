/* Writes to a block that it has freed: found when it is to be handed out again. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    free(block);
    block[40] = 'x';
    for (int i = 0; i < 10000; i++)
        free(malloc(100));
    return 0;
}
