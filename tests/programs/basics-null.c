/* free(NULL) does nothing, realloc(NULL, n) is malloc(n), and malloc(0) may be NULL. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    free(NULL);
    free(malloc(0));
    char *p = realloc(NULL, 100);
    if (!p) {
        fprintf(stderr, "realloc(NULL, 100) is NULL\n");
        return 1;
    }
    p[99] = 1;
    free(p);
    return 0;
}
