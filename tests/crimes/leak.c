/* Loses the only pointers to three blocks; another one can be reached through a global. */
#include "crime.h"

static char **volatile kept;

static __attribute__((noinline)) void lose(void) {
    char *volatile block = malloc(13);
    block = realloc(block, 14);
    block = calloc(3, 100);
    block = memalign(64, 64);
    block = NULL;
}

int main(void) {
    kept = malloc(sizeof *kept);
    *kept = malloc(99);
    lose();
    return 0;
}
