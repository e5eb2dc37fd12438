/* realloc keeps the contents, up to the smaller of both sizes. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    unsigned char *p = NULL, *between;
    for (size_t n = 1, old = 0; n < 100000; old = n, n += 1 + n / 3) {
        p = realloc(p, n);
        between = malloc(n); /* so that the next block cannot always grow in place */
        for (size_t i = 0; i < old; i++)
            if (p[i] != (unsigned char)i) {
                fprintf(stderr, "byte %zu has changed in realloc from %zu to %zu bytes\n", i, old, n);
                return 1;
            }
        for (size_t i = 0; i < n; i++)
            p[i] = (unsigned char)i;
        free(between);
    }
    free(p);
    return 0;
}
