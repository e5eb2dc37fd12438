/* A child is forked while the heap is locked, half way through a call. In the child, blocks
 * from before the fork can be read, have their usable size, and are copied by realloc;
 * their frees are ignored; new blocks come from other memory.
 *
 * This program's system calls take the place of libc's (link with -rdynamic), and fork when
 * malloc asks for memory (mmap, mprotect, sbrk). If a malloc keeps its addresses, they fork
 * when it gives memory back (madvise).
 *
 *     fork-frozen [size]
 */
#include "program.h"
#include "libmalloc.h"
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/syscall.h>

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));

enum { OLD = 20, NEW = 200, SEED_OLD = 1, SEED_NEW = 2 };
enum { LINK = 16 }; /* what a malloc may write into a block that was freed */
static char *old[OLD];
static size_t size;
static volatile bool armed, is_child; /* change inside malloc, which the compiler does not expect */

static void report(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

static void child(void) {
    die_after(30);
    static char *new[NEW];
    for (int i = 0; i < OLD; i++) {
        check_filled(old[i], size, SEED_OLD);
        check(malloc_usable_size(old[i]) >= size, "usable size %zu", malloc_usable_size(old[i]));
    }
    for (int i = 0; i < OLD; i += 2) {
        char *moved = realloc(old[i], size / 2);
        check(moved && moved != old[i], "a block of a frozen heap was resized in place");
        check_moved(moved, old[i], size / 2, SEED_OLD);
        free(moved);
    }
    for (int i = 1; i < OLD; i += 2)
        free(old[i]);
    for (int i = 0; i < NEW; i++) {
        new[i] = must_malloc(size);
        fill(new[i], size, SEED_NEW);
    }
    for (int i = 0; i < OLD; i++) /* so no new block lies there */
        for (size_t k = LINK; k < size; k++)
            check((unsigned char)old[i][k] == pattern(old[i], SEED_OLD, k),
                  "byte %zu of a block of the frozen heap was written to", k);
    for (int i = 0; i < NEW; i++) {
        check_filled(new[i], size, SEED_NEW);
        free(new[i]);
    }
    check(!libmalloc_check || libmalloc_check(report, NULL) == 0, "the fresh heap is broken");
}

/* Every other child returns into the call that was interrupted. */
static void interrupt(void) {
    static int times;
    if (!armed)
        return;
    armed = false;
    pid_t pid = fork();
    if (pid == 0) {
        child();
        if (times % 2)
            _exit(0);
        is_child = true;
        return;
    }
    check_child(pid, times++ % 2 ? "ends there" : "goes on");
}

void *mmap(void *p, size_t length, int protection, int flags, int fd, off_t offset) {
    interrupt();
    long result = syscall(SYS_mmap, p, length, protection, flags, fd, offset);
    interrupt();
    return (void *)result;
}

int mprotect(void *p, size_t length, int protection) {
    interrupt();
    int result = (int)syscall(SYS_mprotect, p, length, protection);
    interrupt();
    return result;
}

int madvise(void *p, size_t length, int advice) {
    interrupt();
    int result = (int)syscall(SYS_madvise, p, length, advice);
    interrupt();
    return result;
}

void *sbrk(intptr_t n) {
    static void *(*real)(intptr_t);
    if (!real)
        real = (void *(*)(intptr_t))dlsym(RTLD_NEXT, "sbrk");
    if (n > 0)
        interrupt();
    void *result = real(n);
    if (n > 0)
        interrupt();
    return result;
}

/* Forks at the next call that needs memory from the kernel, or gives it back. */
static void round_once(void) {
    enum { MOST = 100000, MOST_BYTES = 100000000 };
    static char *more[MOST];
    int count = 0, most = size < MOST_BYTES / MOST ? MOST : (int)(MOST_BYTES / size) + 1;
    for (int i = 0; i < OLD; i++) {
        old[i] = must_malloc(size);
        fill(old[i], size, SEED_OLD);
    }
    for (armed = true; armed && count < most; count++) {
        more[count] = must_malloc(size);
        fill(more[count], size, SEED_NEW);
    }
    while (count-- > 0) {
        check_filled(more[count], size, SEED_NEW);
        free(more[count]);
    }
    check(!armed, "malloc neither asks for memory nor gives any back");
    if (is_child)
        _exit(0);
    for (int i = 0; i < OLD; i++) {
        check_filled(old[i], size, SEED_OLD);
        free(old[i]);
    }
}

int main(int argc, char **argv) {
    size = (size_t)argument(argc, argv, 1, 1000);
    free(must_malloc(1));
    for (int i = 0; i < 6; i++)
        round_once();
    return 0;
}
