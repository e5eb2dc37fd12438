/* malloc works before any code could initialise it: in the resolver of an
 * indirect function, while the program is being relocated; before all constructors
 * (.preinit_array); and in a library's constructor that runs before malloc's, even
 * before libc's own. Blocks allocated early can be freed like any other.
 *
 *     lifecycle-early [does the resolver get memory?] [is the library there?]
 *
 * It has the resolver if compiled with -DRESOLVER, because not every malloc survives that.
 * Compiled with -DLIBRARY -shared -nostdlib it is that library: it depends on no other,
 * not even on libc, so its constructor runs first.
 */
#ifdef LIBRARY
#include <stddef.h>
#include <stdlib.h>

char *early_block; /* 1000 bytes of 'e' */

static char *filled(char *p) {
    for (int i = 0; p && i < 1000; i++)
        p[i] = 'e';
    return p;
}

__attribute__((constructor(101))) static void first(void) {
    free(malloc(0));
    free(calloc(10, 100));
    free(aligned_alloc(4096, 4096));
    early_block = filled(realloc(malloc(10), 1000));
}

#else
#include "program.h"
#include <dlfcn.h>

static char *by_resolver, *by_preinit;

static char *allocate(void) {
    char *p = realloc(malloc(10), 1000);
    if (p)
        memset(p, 'e', 1000);
    return p;
}

static int one(void) { return 1; }
#ifdef RESOLVER
static int (*resolve(void))(void) {
    by_resolver = allocate();
    return one;
}
int indirect(void) __attribute__((ifunc("resolve")));
#else
#define indirect one
#endif

static void preinit(void) { by_preinit = allocate(); }
__attribute__((section(".preinit_array"), used)) static void (*before_all)(void) = preinit;

static void check_early(char *p, const char *by) {
    check(p, "no block by %s", by);
    for (int i = 0; i < 1000; i++)
        check(p[i] == 'e', "the block by %s was overwritten", by);
    p = realloc(p, 3000);
    check(p && p[999] == 'e', "realloc of the block by %s", by);
    free(p);
}

int main(int argc, char **argv) {
    bool resolver = argument(argc, argv, 1, 1), library = argument(argc, argv, 2, 0);
    check(indirect() == 1, "the indirect function is another");
    if (resolver || by_resolver)
        check_early(by_resolver, "the resolver");
    check_early(by_preinit, ".preinit_array");
    char **theirs = dlsym(RTLD_DEFAULT, "early_block");
    check(!library || theirs, "the library is not there");
    if (theirs)
        check_early(*theirs, "the first constructor");
    return 0;
}
#endif
