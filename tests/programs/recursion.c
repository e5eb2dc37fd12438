/* Allocates on the way down and frees on the way up, LEVELS calls deep, twice. */
#include <stdlib.h>

static volatile int levels;

__attribute__((noinline)) static void down(int level) {
    void *volatile block = malloc(32);
    if (level < levels)
        down(level + 1);
    free(block);
}

int main(int count, char **words) {
    levels = count > 1 ? atoi(words[1]) : 1000;
    down(0);
    down(0);
    return 0;
}
