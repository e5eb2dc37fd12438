/* One library provides the whole family. If a malloc leaves out a function, the program uses
 * libc's, passes its blocks to the malloc's free, and dies there. The list is that of glibc's
 * manual, "Replacing malloc". Its two obsolete members are tested only if they are named as
 * arguments.
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
