/* The family comes from one hand. Whoever replaces malloc replaces all of it: a function
 * that is left out is libc's, its blocks reach the other free, and the program dies there.
 * The list is the one of glibc's manual, "Replacing malloc", but for its two obsolete
 * members, which have to be named.
 *
 *     semantics-family [name...]
 */
#include "program.h"

static char *family[] = {"calloc",         "realloc",  "free",   "aligned_alloc",
                         "posix_memalign", "memalign", "malloc_usable_size", NULL};

int main(int argc, char **argv) {
    char missing[1000] = "", **names = argc > 1 ? argv + 1 : family;
    for (; *names; names++)
        if (strcmp(provider(*names), provider("malloc")) != 0)
            strcat(strcat(missing, " "), *names);
    check(!*missing, "malloc is replaced, but not:%s", missing);
    return 0;
}
