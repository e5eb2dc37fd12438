/* malloc returns a large block, and many smaller ones. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    char *large = malloc(64 << 20);
    if (!large) {
        fprintf(stderr, "malloc of 64 MiB is NULL\n");
        return 1;
    }
    large[(64 << 20) - 1] = 1;
    for (int i = 0; i < 1000; i++)
        if (!malloc(100000)) {
            fprintf(stderr, "after %d blocks of 100,000 bytes there is no memory\n", i);
            return 1;
        }
    return 0;
}
