/* Each function of the family accepts the blocks of each other one. Under a tool that puts
 * its own functions in place of the exported ones (valgrind does), that is so only if no
 * function of ours bypasses the exported ones.
 *
 *     life-family
 */
#include "life.h"

int main(void) {
    char *p = must_malloc(10);
    check((p = reallocarray(p, 10, 10)), "reallocarray failed");
    p[99] = 1;
    check((p = realloc(p, 300000)), "realloc failed");
    check(p[99] == 1, "a byte is lost");
    check((p = reallocarray(p, 3, 5)), "reallocarray failed");
    free(p);
    check((p = reallocarray(NULL, 3, 5)), "reallocarray failed");
    free(p);
    check((p = calloc(3, 5)), "calloc failed");
    check((p = reallocarray(p, 30, 50)), "reallocarray failed");
    free(p);
    check((p = memalign(64, 100)), "memalign failed");
    check((p = realloc(p, 1000)), "realloc failed");
    free(p);
    void *q = NULL;
    check(posix_memalign(&q, 4096, 100) == 0, "posix_memalign failed");
    free(q);
    free(aligned_alloc(32, 64));
    return 0;
}
