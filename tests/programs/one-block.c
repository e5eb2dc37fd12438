/* 100,000 blocks, one at a time. */
#include <stdlib.h>

int main(void) {
    for (int i = 0; i < 100000; i++) {
        void *volatile block = malloc(100);
        free(block);
    }
    return 0;
}
