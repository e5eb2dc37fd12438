/* For GDB: a heap that two forks have frozen, one after the other. Each fork happens inside a call
 * of malloc that needs memory (needs-memory.h), so that the child must start a fresh heap. The last
 * child has three heaps, with a large block in each; it stops in stop_here(), and ends with status 3.
 */
#define _GNU_SOURCE
#include "needs-memory.h"
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEAPS = 3, SMALL = 1000, LARGE = 100000, MORE = 1 << 20, CALLS = 100 };
static void *volatile block[HEAPS], *volatile small[HEAPS], *volatile more;
static volatile bool armed;
static volatile int number;

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

static __attribute__((noreturn)) void live(void) {
    block[number] = malloc(LARGE);
    small[number] = malloc(SMALL); /* sharded may take it from an earlier heap, if that is whole */
    if (number == HEAPS - 1) {
        stop_here();
        _exit(3);
    }
    armed = true;
    for (int i = 0; i < CALLS; i++)
        more = malloc(MORE);
    _exit(4); /* none of them needed memory */
}

static void interrupt(void) {
    int status = 0;
    if (!armed)
        return;
    armed = false;
    pid_t child = fork();
    if (child == 0) {
        number++;
        live();
    }
    waitpid(child, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 5);
}

int main(void) { live(); }
