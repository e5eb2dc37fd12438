/* System calls in the place of libc's: they call interrupt(), which the program defines, before each
 * system call that gives malloc memory. Link with -rdynamic, so that malloc calls these functions.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void interrupt(void);

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
