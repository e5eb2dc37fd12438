/* Allocates blocks from known places, for the table of --track.
 *
 *     gdb-tracked          stops in stop_here(), prints the places, status 3
 *     gdb-tracked fork     stops in the child, which has lost a block of its own, status 3
 *     gdb-tracked exec     becomes the first
 *     gdb-tracked wait     prints its process's number, waits for a line, status 3
 *     gdb-tracked in-use   asks the malloc of gdb-unknown.c for memory that is in use
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOST = 30 };

char *volatile grown, *volatile given, *volatile kept, *volatile freed;
volatile size_t hidden; /* one of the lost, in disguise */

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

static __attribute__((noinline)) void lose(size_t size) {
    char *p = memset(malloc(size), 'l', size);
    hidden = ~(size_t)p;
}

static __attribute__((noinline)) void grow(void) {
    grown = malloc(100);
    grown = realloc(grown, 5000);
    if (realloc(grown, (size_t)1 << 60)) /* fails: the block lives on */
        abort();
}

static __attribute__((noinline)) void *give(void *arg) {
    char *other = malloc(333);
    given = calloc(7, 111);
    free(other);
    return arg;
}

static void fill(void) {
    pthread_t thread;
    kept = aligned_alloc(64, 640);
    freed = malloc(77);
    for (int i = 0; i < LOST; i++)
        lose(40);
    grow();
    pthread_create(&thread, NULL, give, NULL);
    pthread_join(thread, NULL);
    free(freed);
}

/* Clears the stack, where old pointers to lost blocks may be left. */
static __attribute__((noinline)) void stack_clear(void) {
    char old[8192];
    memset(old, 0, sizeof old);
    __asm__ volatile("" ::"r"(old) : "memory");
}

static void fork_once(void) {
    if (fork() == 0) {
        lose(4444);
        free(kept);
        stack_clear();
        stop_here();
        _exit(3);
    }
    wait(NULL);
}

static int wait_for_line(void) {
    char line[32];
    int length = snprintf(line, sizeof line, "%d\n", (int)getpid());
    return write(1, line, (size_t)length) == length && read(0, line, sizeof line) > 0 ? 3 : 1;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "exec"))
        execl(argv[0], argv[0], "", NULL);
    fill();
    if (!strcmp(mode, "fork")) {
        fork_once();
        return 3;
    }
    if (!strcmp(mode, "in-use"))
        freed = malloc(4242);
    stack_clear();
    if (!strcmp(mode, "wait"))
        return wait_for_line();
    stop_here();
    printf("grown %p\ngiven %p\nkept %p\nlost %#zx\n", (void *)grown, (void *)given, (void *)kept, ~hidden);
    return 3;
}
