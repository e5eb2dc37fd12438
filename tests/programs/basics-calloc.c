/* calloc returns zeroed memory, even memory that was used before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    for (size_t n = 1; n < 100000; n += 1 + n / 3) {
        char *p = malloc(n);
        memset(p, 'x', n);
        free(p);
        p = calloc(n, 1);
        for (size_t i = 0; i < n; i++)
            if (p[i]) {
                fprintf(stderr, "byte %zu of calloc(%zu, 1) is not zero\n", i, n);
                return 1;
            }
        free(p);
    }
    return 0;
}
