/* malloc prints nothing, neither to standard output nor to standard error, and a program
 * that allocates a little ends with its own status, 7.
 */
#include "program.h"

int main(void) {
    for (size_t size = 1; size < 100000; size *= 3)
        free(realloc(calloc(1, size), size + 100));
    return 7;
}
