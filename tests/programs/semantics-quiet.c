/* malloc is silent: it prints nothing into the output of a program that is none of its
 * business, and a program that only allocates a little ends as it wants to, with status 7.
 */
#include "program.h"

int main(void) {
    for (size_t size = 1; size < 100000; size *= 3)
        free(realloc(calloc(1, size), size + 100));
    return 7;
}
