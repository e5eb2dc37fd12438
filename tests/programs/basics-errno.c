/* free keeps errno. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    for (size_t n = 1; n < 10000000; n = n * 3 + 1) {
        void *p = malloc(n);
        errno = 12345;
        free(p);
        if (errno != 12345) {
            fprintf(stderr, "free of a block of %zu bytes sets errno to %d\n", n, errno);
            return 1;
        }
    }
    return 0;
}
