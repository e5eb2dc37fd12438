/* free of a wrong pointer raises SIGABRT, and a crash reporter catches it: its handler
 * allocates, forks and reads old blocks, while other threads allocate, too. It ends the
 * program with status 3, or, with `jump`, leaves the handler by longjmp and continues
 * with a heap that works; it does so TIMES times.
 *
 *     lifecycle-abort [jump] [other threads]
 */
#include "program.h"
#include <setjmp.h>

enum { TIMES = 30 };
static char *old;
static sigjmp_buf back;
static bool jump;

static void *allocate_for_ever(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;)
        free(must_malloc(chance_size(&random, chance_below(&random, 2) ? 3000 : 300000)));
    return NULL;
}

static void use(void) {
    check_filled(old, 1000, 1);
    check(malloc_usable_size(old) >= 1000, "the usable size changed");
    for (size_t size = 1; size < 500000; size = size * 2 + 1) {
        char *p = must_malloc(size);
        fill(p, size, 2);
        p = realloc(p, size + 100);
        check(p, "realloc failed");
        free(p);
    }
    check_fork("from a crash reporter");
}

static void aborted(int signal) {
    (void)signal;
    die_after(30);
    use();
    if (jump)
        siglongjmp(back, 1);
    _exit(3);
}

int main(int argc, char **argv) {
    jump = argc > 1 && strcmp(argv[1], "jump") == 0;
    long threads = argument(argc, argv, 2, 3);
    signal(SIGABRT, aborted);
    fill(old = must_malloc(1000), 1000, 1);
    for (long i = 0; i < threads; i++)
        start(allocate_for_ever, (void *)i);
    char *after = must_malloc(100);
    for (volatile int times = jump ? TIMES : 1; times > 0; times--) {
        char *p = must_malloc(100);
        if (sigsetjmp(back, 1) == 0) {
            free(p + 16); /* not a block freed twice: another thread could have it by then */
            check(false, "a free of the middle of a block did not abort");
        }
        free(must_malloc(100));
    }
    use();
    char *grown = realloc(old, 5000);
    check(grown, "realloc of an old block failed");
    check_moved(grown, old, 1000, 1);
    free(grown);
    free(after);
    _exit(0);
}
