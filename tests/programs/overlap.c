/* A malloc that now and then hands out a small block twice: programs continue, with wrong data. With
 * -DENDS=N it ends the process at the Nth call instead, with -DHANGS the first call never returns.
 * Build with -shared -fPIC. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Alignas(16) char pool[256 << 20];
static size_t used, calls;
static void *latest;

void *malloc(size_t size) {
    calls++;
#ifdef HANGS
    for (;;)
        pause();
#endif
#ifdef ENDS
    if (calls > ENDS)
        abort();
    latest = NULL;
#endif
    if (latest && size <= 64 && calls > 200 && calls % 100 == 0)
        return latest;
    size_t *block = (size_t *)(pool + used);
    used += (size + 31) & ~(size_t)15;
    if (used > sizeof pool)
        return NULL;
    block[1] = size;
    if (size >= 64 && size <= 128)
        latest = block + 2;
    return block + 2;
}

void free(void *p) {
    (void)p;
}

void *calloc(size_t n, size_t size) {
    return memset(malloc(n * size), 0, n * size);
}

void *realloc(void *p, size_t size) {
    void *q = malloc(size);
    size_t old = p ? ((size_t *)p)[-1] : 0;
    return p ? memcpy(q, p, old < size ? old : size) : q;
}
