/* Non-local jumps between calls, out of deep frames and out of signal handlers that
 * interrupted the program's own code, cost nothing but the blocks that were forgotten;
 * and free keeps errno, whatever it has to do.
 */
#include "program.h"
#include <setjmp.h>

static sigjmp_buf back;

static void deeper(int depth) {
    char *p = must_malloc(100 * (size_t)depth + 1);
    fill(p, 100 * (size_t)depth, 1);
    free(p);
    if (depth == 20)
        siglongjmp(back, 1);
    deeper(depth + 1);
}

static void caught(int signal) {
    (void)signal;
    siglongjmp(back, 2);
}

static void check_errno(size_t size) {
    static void *blocks[300];
    for (int i = 0; i < 300; i++)
        blocks[i] = must_malloc(size);
    for (int i = 0; i < 300; i++) {
        errno = 12345;
        free(blocks[i]);
        check(errno_kept(12345), "free of a block of %zu bytes changed errno to %d", size, errno);
    }
}

int main(int argc, char **argv) {
    size_t largest = (size_t)argument(argc, argv, 1, 1000000);
    signal(SIGUSR1, caught);
    for (volatile int i = 0; i < 200; i++) {
        int how = sigsetjmp(back, 1);
        if (how == 0)
            deeper(0);
        if (how == 1)
            raise(SIGUSR1);
        check(how == 2, "the jump came from nowhere");
    }
    for (size_t size = 1; size <= largest; size = size * 3 + 1)
        check_errno(size);
    errno = 12345;
    free(NULL);
    check(errno_kept(12345), "free(NULL) changed errno to %d", errno);
    return 0;
}
