/* A malloc that serves a hundred calls and then ends the process: what a benchmark must survive.
 * Build with -shared -fPIC. */
#include <stddef.h>
#include <stdlib.h>

static char pool[1 << 20];
static size_t used, calls;

void *malloc(size_t size) {
    if (++calls > 100)
        abort();
    char *p = pool + used;
    used += (size + 15) & ~(size_t)15;
    return p;
}

void free(void *p) {
    (void)p;
}
