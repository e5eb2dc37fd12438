/* address-taken.c: a program that takes malloc's address. Linked without PIE, that address is a
 * stub in the program itself, as in Debian's python3. */
#include <stdlib.h>

static struct {
    void *(*allocate)(size_t);
    void (*release)(void *);
} hooks = {malloc, free};

int main(void) {
    hooks.release(hooks.allocate(100));
    return 0;
}
