/* A heap that two forks have frozen, one after the other, for GDB: each time inside a call of malloc,
 * which the program stops where that needs memory (link with -rdynamic), so that the child must start
 * afresh. Three heaps are left in the last child, with a large block in each; it stops in stop_here(), status 3.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
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

void *mmap(void *p, size_t length, int protection, int flags, int fd, off_t offset) {
    interrupt();
    return (void *)syscall(SYS_mmap, p, length, protection, flags, fd, offset);
}

int mprotect(void *p, size_t length, int protection) {
    interrupt();
    return (int)syscall(SYS_mprotect, p, length, protection);
}

void *sbrk(intptr_t n) {
    interrupt();
    char *old = (char *)syscall(SYS_brk, NULL);
    return n && (char *)syscall(SYS_brk, old + n) != old + n ? (void *)-1 : old;
}

int main(void) { live(); }
