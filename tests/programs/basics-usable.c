/* A block owns all bytes that malloc_usable_size reports. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 100 };

int main(void) {
    for (size_t n = 1; n < 10000; n += 1 + n / 3) {
        unsigned char *p[MANY];
        size_t usable = 0;
        for (int i = 0; i < MANY; i++)
            p[i] = malloc(n);
        for (int i = 0; i < MANY; i++)
            memset(p[i], i, usable = malloc_usable_size(p[i]));
        for (int i = 0; i < MANY; i++)
            if (usable < n || p[i][0] != i || p[i][n - 1] != i) {
                fprintf(stderr, "malloc_usable_size of a block of %zu bytes is %zu: %s\n", n, usable,
                        usable < n ? "too little" : "the next block begins there");
                return 1;
            }
        for (int i = 0; i < MANY; i++)
            free(p[i]);
    }
    return 0;
}
