/* The first call of a process may be any of the family, with any size. A process of its own makes each,
 * so that no call before has initialised the malloc.
 *
 *     lifecycle-first [call]
 */
#include "program.h"
#include <sys/resource.h>

enum { HUGE_SIZE = 1 << 28, CALLS = 8 };

static volatile size_t impossible = SIZE_MAX - 100;

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
    default:
        p = malloc(0);
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
        check_child(child, number);
    }
    return 0;
}
