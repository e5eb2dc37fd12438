/* Other fork handlers than malloc's, registered before and after it, allocate, resize and
 * free in prepare, parent and child, while other threads do so, too. Compiled with -DLIBRARY
 * -shared it is the library whose handlers are registered before.
 *
 *     fork-handlers [forks] [threads] [are the library's handlers expected?]
 */
#include "program.h"
#include <dlfcn.h>

int fork_handlers_ran; /* the library's and the program's: each has its own */
static char *kept;     /* across the fork */

static void allocate(void) {
    for (int i = 0; i < 20; i++) {
        char *p = must_malloc(100 + (size_t)i * 50);
        fill(p, 100, 1);
        kept = realloc(kept, 2000 + (size_t)i * 30);
        check(kept, "realloc in a handler failed");
        fill(kept, 2000, 2);
        check_filled(p, 100, 1);
        free(p);
    }
    fork_handlers_ran++;
}

static void prepare(void) { allocate(); }

static void after(void) {
    check_filled(kept, 2000, 2);
    allocate();
    if (fork_handlers_ran % 3 == 0) {
        free(kept);
        kept = NULL;
    }
}

/* A malloc may register its own at its first call; the program registers after that. */
__attribute__((constructor)) static void watch(void) {
#ifndef LIBRARY
    free(must_malloc(1));
#endif
    pthread_atfork(prepare, after, after);
}

#ifndef LIBRARY
static atomic_bool stop;

static void *allocate_for_ever(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    while (!stop)
        free(must_malloc(chance_size(&random, 3000)));
    return NULL;
}

int main(int argc, char **argv) {
    long forks = argument(argc, argv, 1, 100), threads = argument(argc, argv, 2, 3);
    bool library = argument(argc, argv, 3, 0);
    check(threads <= 32, "32 threads at most");
    pthread_t busy[32];
    for (long i = 0; i < threads; i++)
        busy[i] = start(allocate_for_ever, (void *)i);
    for (long i = 0; i < forks; i++) {
        pid_t child = fork();
        if (child == 0) {
            die_after(30);
            check(fork_handlers_ran == 2 * i + 2, "the handlers did not run in the child");
            free(must_malloc(1000));
            _exit(0);
        }
        check_child(child, "with handlers that allocate");
    }
    stop = true;
    for (long i = 0; i < threads; i++)
        join(busy[i]);
    check(fork_handlers_ran == 2 * forks, "%d handlers ran", fork_handlers_ran);
    int *theirs = dlsym(RTLD_NEXT, "fork_handlers_ran");
    check(!library || (theirs && *theirs == 2 * forks), "the library's handlers did not run");
    return 0;
}
#endif
