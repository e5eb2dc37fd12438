/* free keeps errno (POSIX.1-2024), whatever it has to do, because programs free blocks
 * after an error, and then report that error.
 *
 *     semantics-errno [largest size]
 */
#include "program.h"

enum { MANY = 200 };
static void *blocks[MANY];

static void free_one(void *p, size_t size) {
    errno = 12345;
    free(p);
    check(errno == 12345, "free of a block of %zu bytes changed errno to %d", size, errno);
}

int main(int argc, char **argv) {
    size_t largest = (size_t)argument(argc, argv, 1, 3000000);
    free_one(NULL, 0);
    for (size_t size = 1; size <= largest; size = size * 3 + 1) {
        for (int i = 0; i < MANY; i++)
            blocks[i] = must_malloc(size);
        for (int i = 0; i < MANY; i += 2)
            free_one(blocks[i], size);
        for (int i = MANY - 1; i > 0; i -= 2)
            free_one(blocks[i], size);
    }
    return 0;
}
