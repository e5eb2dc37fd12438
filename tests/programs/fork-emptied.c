/* A child that was forked inside malloc may free all blocks of another thread, and its heap stays
 * sound. Forks when malloc asks for memory, as fork-frozen does (needs-memory.h).
 *
 *     fork-emptied [size]
 */
#include "program.h"
#include "libmalloc.h"
#include "needs-memory.h"
#include <malloc.h>

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));

enum { BLOCKS = 1000 };
static char *theirs[BLOCKS], *new[BLOCKS];
static size_t size;
static volatile bool armed;
static pthread_barrier_t made;

static void report(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

static void *make(void *arg) {
    for (int i = 0; i < BLOCKS; i++)
        theirs[i] = must_malloc(size);
    pthread_barrier_wait(&made);
    pause();
    return arg;
}

static void child(void) {
    die_after(30);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < BLOCKS; i++)
            fill(new[i] = must_malloc(size), size, 1);
        for (int i = 0; round == 0 && i < BLOCKS; i++)
            free(theirs[i]);
        for (int i = 0; i < BLOCKS; i++) {
            check_filled(new[i], size, 1);
            free(new[i]);
        }
        malloc_trim(0);
        check(!libmalloc_check || libmalloc_check(report, NULL) == 0, "the heap is broken");
    }
    _exit(0);
}

static void interrupt(void) {
    if (!armed)
        return;
    armed = false;
    pid_t pid = fork();
    if (pid == 0)
        child();
    check_child(pid, "inside of malloc");
}

int main(int argc, char **argv) {
    size = (size_t)argument(argc, argv, 1, 1000);
    pthread_barrier_init(&made, NULL, 2);
    start(make, NULL);
    pthread_barrier_wait(&made);
    armed = true;
    for (int i = 0; armed; i++) {
        check(i < 100000, "malloc never asks for more memory");
        void *volatile more = malloc(60000);
        check(more, "no memory");
    }
    return 0;
}
