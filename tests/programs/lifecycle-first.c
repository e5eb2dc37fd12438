/* The first call of a process may be any of the family, with any size, and from anywhere: atexit and
 * pthread_atfork allocate while they hold a lock, so malloc must not call them then. A process of its own
 * makes each, so that no call before has initialised the malloc.
 *
 *     lifecycle-first [call]
 */
#include "program.h"
#include <sys/resource.h>

enum { HUGE_SIZE = 1 << 28, CALLS = 10, HANDLERS = 100 };

static volatile size_t impossible = SIZE_MAX - 100;
static const char *const calls[CALLS] = {
    "malloc of 256 MiB", "calloc of 256 MiB", "realloc(NULL)",
    "memalign", "posix_memalign", "free(NULL)",
    "malloc of too much", "malloc(0)", "by atexit, which holds a lock",
    "by pthread_atfork, which holds a lock",
};

static void nothing(void) {}

static void first(long call) {
    void *p = NULL;
    switch (call) {
    case 0:
        check(p = malloc(HUGE_SIZE), "malloc(%d) failed", HUGE_SIZE);
        break;
    case 1:
        check(lacks("calloc") || (p = calloc(HUGE_SIZE, 1)), "calloc(%d, 1) failed", HUGE_SIZE);
        break;
    case 2:
        check(lacks("realloc") || (p = realloc(NULL, 1 << 20)), "realloc(NULL, 1 << 20) failed");
        break;
    case 3:
        check(p = memalign_if_any(4096, 100), "memalign(4096, 100) failed");
        break;
    case 4:
        check(lacks("posix_memalign") || posix_memalign(&p, 64, 5000) == 0, "posix_memalign failed");
        break;
    case 5:
        free(NULL);
        break;
    case 6:
        if (!lacks("refusals"))
            check(!(p = malloc(impossible)), "malloc(SIZE_MAX - 100) gives a block");
        break;
    case 7:
        p = malloc(0);
        break;
    default: /* libc has room for 32 and 48 before it allocates */
        for (int i = 0; i < HANDLERS; i++)
            check((call == 8 ? atexit(nothing) : pthread_atfork(nothing, nothing, nothing)) == 0,
                  "cannot register handler %d", i);
    }
    if (p && call < 5)
        memset(p, 1, 100);
    void *q = must_malloc(1000);
    fill(q, 1000, 1);
    free(p);
    check_filled(q, 1000, 1);
    free(q);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        die_after(60);
        first(argument(argc, argv, 1, 0));
        return 0;
    }
    for (long call = 0; call < CALLS; call++) {
        char number[] = {(char)('0' + call), 0};
        pid_t child = fork();
        if (child == 0) {
            execv(argv[0], (char *[]){argv[0], number, NULL});
            _exit(127);
        }
        check_child(child, calls[call]);
    }
    return 0;
}
