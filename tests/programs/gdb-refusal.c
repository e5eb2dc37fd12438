/* Runs out of memory, for `libmalloc gdb --on oom`. Its mmap, which replaces libc's, can be told to refuse
 * once: sharded then takes a huge block from elsewhere, and so malloc does not refuse.
 *
 *     cc -rdynamic …    (so that a preloaded malloc finds this mmap)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* volatile, because libc declares that malloc calls no function of ours, such as this mmap. */
static volatile bool refuse;
static volatile int refused;
static const size_t much = (size_t)1 << 60;

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (refuse) {
        refuse = false;
        refused++;
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

int main(void) {
    void *small = malloc(100);
    refuse = true;
    void *volatile elsewhere = malloc(64 << 20);
    refuse = false;
    void *volatile p = malloc(much);
    void *q = NULL;
    volatile int error = posix_memalign(&q, 64, much);
    void *volatile r = calloc(much, 2);
    void *volatile s = realloc(small, much);
    printf("%d %p %p %d %p %p %p\n", refused, elsewhere, p, error, q, r, s);
    return 3;
}
