/* A malloc that lacks most of the family, as those of others do. With -DBROKEN it also
 * calls a function that no library defines. */
#include <stddef.h>

static _Alignas(16) char memory[1 << 20];
static size_t used;

void *malloc(size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof memory - used)
        return NULL;
    used += size;
    return memory + used - size;
}

void free(void *p) {
#ifdef BROKEN
    extern void nobody_defines_this(void *);
    nobody_defines_this(p);
#endif
    (void)p;
}
