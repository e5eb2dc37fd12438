/* A thread's first call may be any function of the family, on blocks of other threads. What a malloc
 * prepares for a thread must not depend on a call of malloc.
 *
 *     threads-first [rounds]
 */
#include "program.h"

enum { SIZE = 3000, LARGE = 1000000, CALLS = 10 };
static void *others[CALLS];

static void *first(void *arg) {
    size_t which = (size_t)arg;
    void *p = others[which], *q = NULL;
    switch (which) {
    case 0:
        q = memalign_if_any(256, SIZE);
        break;
    case 1:
        check(lacks("posix_memalign") || posix_memalign(&q, 4096, LARGE) == 0,
              "posix_memalign failed");
        break;
    case 2:
        q = lacks("aligned_alloc") ? NULL : aligned_alloc(64, 6400);
        break;
    case 3:
        q = lacks("calloc") ? NULL : calloc(1, SIZE);
        break;
    case 4:
        q = lacks("realloc") ? NULL : realloc(NULL, LARGE);
        break;
    case 5:
        check_filled(p, SIZE, which);
        if (!lacks("realloc"))
            check_moved(p = realloc(p, 2 * SIZE), others[which], SIZE, which);
        break;
    case 6:
        free(NULL);
        break;
    case 7:
        check(usable_size(p, SIZE) >= SIZE, "a block of another thread is too small");
        break;
    case 8:
        q = must_malloc(LARGE);
        break;
    default:
        break;
    }
    if (which > 5)
        check_filled(p, SIZE, which);
    free(p);
    if (q)
        memset(q, 1, SIZE);
    void *r = must_malloc(SIZE);
    fill(r, SIZE, 99);
    free(q);
    check_filled(r, SIZE, 99);
    free(r);
    return NULL;
}

int main(int argc, char **argv) {
    for (long round = argument(argc, argv, 1, 30); round > 0; round--) {
        for (size_t i = 0; i < CALLS; i++)
            fill(others[i] = must_malloc(SIZE), SIZE, i);
        if (round % 2)
            run_threads(CALLS, first);
        else
            for (size_t i = 0; i < CALLS; i++)
                join(start(first, (void *)i));
    }
    return 0;
}
