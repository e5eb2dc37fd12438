/* glibc's second names (__libc_malloc and the like) belong to the malloc in use: blocks that
 * come from one name may be freed by the other. */
#include "program.h"

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t), *__libc_valloc(size_t), *__libc_pvalloc(size_t);
extern void __libc_free(void *);

static void checked(void *p, size_t size) {
    check(p, "no memory");
    fill(p, size, 3);
    check_filled(p, size, 3);
    check(malloc_usable_size(p) >= size, "%zu bytes are usable", malloc_usable_size(p));
}

int main(void) {
    const char *names[] = {"malloc", "calloc", "realloc", "free", "memalign", "valloc", "pvalloc"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char second[32];
        snprintf(second, sizeof second, "__libc_%s", names[i]);
        check(!strcmp(provider(second), provider("malloc")), "%s comes from %s", second,
              provider(second));
    }
    for (size_t size = 1; size < 1 << 20; size *= 3) {
        void *blocks[] = {__libc_malloc(size),         __libc_calloc(size, 1),
                          __libc_realloc(NULL, size),  __libc_memalign(64, size),
                          __libc_valloc(size),         __libc_pvalloc(size)};
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
            checked(blocks[i], size);
            blocks[i] = realloc(blocks[i], size + 100);
            checked(blocks[i], size + 100);
            free(blocks[i]);
        }
        void *p = malloc(size);
        checked(p, size);
        p = __libc_realloc(p, 2 * size);
        checked(p, 2 * size);
        __libc_free(p);
    }
    return 0;
}
