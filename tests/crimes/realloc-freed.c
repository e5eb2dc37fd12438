/* Passes a freed block to realloc. */
#include "crime.h"

int main(void) {
    char *volatile block = malloc(100);
    free(block);
    block = realloc(block, 200);
    return 0;
}
