/* os.h: the kernel. The only place that makes system calls for memory.
 *
 * Prices (2 to 3 GHz, no contention): a system call about 0.1 µs, mmap and munmap
 * 1 to 2 µs, and the first touch of each new 4 KiB page 0.25 µs or more. A page
 * fault costs as much as dozens of calls of malloc, so memory that is not touched
 * costs nearly nothing, and memory that was given back costs its faults again.
 */
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../heap.h"

static inline size_t os_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* Our callers get ENOMEM, for whatever reason the kernel refused. */
static void *os_refuse(void) {
    errno = ENOMEM;
    return NULL;
}

/* Zeroed memory, aligned to a page. NULL with errno ENOMEM. */
static void *os_map(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? os_refuse() : p;
}

/* Gives memory back. Keeps errno, since free() must. False when the kernel
 * refuses, which it does when a hole would make one mapping too many
 * (vm.max_map_count, 65,530 by default). */
static bool os_unmap(void *p, size_t size) {
    int saved = errno;
    bool done = size == 0 || munmap(p, size) == 0;
    errno = saved;
    return done;
}

/* Zeroed memory at a multiple of `alignment`. The kernel places each mapping right below
 * the last, so after the first one its address is usually aligned already. If it is not,
 * this maps more and unmaps both ends. */
UNUSED static void *os_map_aligned(size_t size, size_t alignment) {
    char *p = os_map(size);
    if (!p || p == align_up(p, alignment))
        return p;
    os_unmap(p, size);
    if (!(p = os_map(size + alignment)))
        return NULL;
    char *aligned = align_up(p, alignment);
    os_unmap(p, (size_t)(aligned - p));
    os_unmap(aligned + size, (size_t)(p + alignment - aligned));
    return aligned;
}

/* Grows or shrinks a mapping in place. Returns 0, ENOMEM if something is in the way, or EFAULT if
 * the program divided the mapping. Keeps errno. */
UNUSED static int os_resize(void *p, size_t size, size_t wanted) {
    int saved = errno, error = mremap(p, size, wanted, 0) == MAP_FAILED ? errno : 0;
    errno = saved;
    return error;
}

/* Moves pages to `to`, and unmaps what was mapped there: page tables change, no byte
 * is copied, and untouched pages stay untouched. */
UNUSED static bool os_move(void *p, size_t size, void *to, size_t wanted) {
    return mremap(p, size, wanted, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
}

/* The same, but `p` stays mapped and then reads as zero. Always false on kernels before 5.7. */
UNUSED static bool os_move_out(void *p, size_t size, void *to) {
    enum { DONTUNMAP = 4 }; /* MREMAP_DONTUNMAP; libc's headers may be older */
    int saved = errno;
    bool done = mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | DONTUNMAP, to) != MAP_FAILED;
    errno = saved;
    return done;
}

/* Drops the pages and keeps the addresses: they read as zero again. False when the kernel
 * refuses (locked memory). */
UNUSED static bool os_purge(void *p, size_t size) {
    int saved = errno;
    bool done = madvise(p, size, MADV_DONTNEED) == 0;
    errno = saved;
    return done;
}

/* Asks for huge pages where whole ones fit. A hint, so an error is ignored. Costs no memory
 * until the addresses are touched. */
UNUSED static void os_make_huge(void *p, size_t size) {
    int saved = errno;
    madvise(p, size, MADV_HUGEPAGE);
    errno = saved;
}

/* Makes the pages resident now, in one call, instead of by a page fault at the first touch of each.
 * A hint, too: kernels before 5.14 refuse it. */
UNUSED static void os_populate(void *p, size_t size) {
    enum { POPULATE_WRITE = 23 }; /* MADV_POPULATE_WRITE; libc's headers may be older */
    int saved = errno;
    madvise(p, size, POPULATE_WRITE);
    errno = saved;
}

/* Keeps reserved addresses out of core dumps: GDB and pipes would write them as zeros. */
static void *os_reserved(void *p, size_t size) {
    if (p == MAP_FAILED)
        return os_refuse();
    madvise(p, size, MADV_DONTDUMP);
    return p;
}

/* os_reserve gets addresses without memory behind them; os_commit gets zeroed memory for
 * some of them, starting with the page that holds `p`. NULL or false with errno ENOMEM. */
UNUSED static void *os_reserve(size_t size) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    return os_reserved(mmap(NULL, size, PROT_NONE, flags, -1, 0), size);
}

UNUSED static bool os_commit(void *p, size_t size) {
    size_t into = (uintptr_t)p % os_page_size();
    char *page = (char *)p - into;
    if (mprotect(page, into + size, PROT_READ | PROT_WRITE) != 0)
        return os_refuse();
    madvise(page, into + size, MADV_DODUMP);
    return true;
}

/* Reserves addresses at this very place; false if something is there already. */
UNUSED static bool os_reserve_at(void *at, size_t size) {
    int saved = errno;
    void *p = mmap(at, size, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (p == at)
        os_reserved(p, size);
    else if (p != MAP_FAILED) /* a kernel before 4.17 puts it elsewhere */
        munmap(p, size);
    errno = saved;
    return p == at;
}

/* Addresses that read as zero. They cost nothing until they are read, and do not count as
 * memory until they are committed. */
UNUSED static void *os_reserve_readable(size_t size) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    return os_reserved(mmap(NULL, size, PROT_READ, flags, -1, 0), size);
}

/* Maps a whole file to be read; NULL if that fails. */
UNUSED static const char *os_map_file(const char *path, size_t *size) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    bool known = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0;
    *size = known ? (size_t)status.st_size : 0;
    void *p = known ? mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    return p == MAP_FAILED ? NULL : p;
}

/* Copies memory that may not be mapped. Returns the number of bytes copied. */
UNUSED static size_t os_peek(void *to, const void *from, size_t size) {
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)from, size};
    ssize_t copied = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
    return copied < 0 ? 0 : (size_t)copied;
}

/* The addresses of our own code lie between the first of the library, which the linker defines, and
 * its variables. */
extern const char os_code_start[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));
UNUSED static char os_code_end;

/* Could these words be the saved registers of a thread that a signal interrupted in our code? On
 * x86-64 the program counter lies behind the stack pointer, and two words before the code segment,
 * which is 0x33 in a program. Elsewhere any word that leads into our code will do. */
UNUSED static bool os_looks_interrupted(const uintptr_t *word) {
    bool ours = *word >= (uintptr_t)os_code_start && *word < (uintptr_t)&os_code_end;
#ifdef __x86_64__
    return ours && (word[2] & 0xffff) == 0x33;
#else
    return ours;
#endif
}

/* Does this thread run in a signal handler that interrupted our code? While a handler runs, a
 * signal is blocked (except with SA_NODEFER), but fork servers and signalfd daemons block some all
 * the time. So we look for the saved registers on the stack: up to the thread's descriptor, if it
 * lies above, or to the end of what is mapped. The kernel copies the words, because they may not be
 * mapped. Costs about 0.2 µs a page. */
UNUSED static bool os_interrupted_us(void) {
    enum { WORDS = 512, MOST = 16 << 20 };
    uint64_t blocked = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof blocked);
    uintptr_t word[WORDS + 2], at = (uintptr_t)&blocked & ~7ul;
    uintptr_t end = (uintptr_t)pthread_self();
    if (end < at || end - at > 1ul << 30)
        end = at + MOST;
    for (size_t got = sizeof word; blocked && at < end && got == sizeof word;
         at += WORDS * sizeof *word) {
        got = os_peek(word, (void *)at, sizeof word);
        for (size_t i = 0; i < WORDS && (i + 3) * sizeof *word <= got; i++)
            if (os_looks_interrupted(word + i))
                return true;
    }
    return false;
}

/* Sleeps; may wake early. Not nanosleep(3), because that is a cancellation point: a
 * cancelled thread would end inside malloc. */
UNUSED static void os_nap(long nanoseconds) {
    syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = nanoseconds}, NULL);
}

/* Moves the program break by `n` bytes and returns where it was; NULL with errno
 * ENOMEM. By sbrk(3), not by the system call, because glibc remembers the break: if we moved
 * it without glibc's knowledge, a program that calls sbrk would move it back below our blocks.
 * musl's sbrk refuses to move it. (musl's dynamic linker still uses musl's malloc, which keeps
 * records at a break that it remembers: in a program that loads hundreds of libraries with
 * dlopen, it may move the break back below our blocks.) */
UNUSED static char *os_break(intptr_t n) {
#ifdef __GLIBC__
    void *p = sbrk(n);
    return p == (void *)-1 ? os_refuse() : p;
#else
    char *now = (char *)syscall(SYS_brk, 0);
    bool moved = n == 0 || (char *)syscall(SYS_brk, now + n) == now + n;
    return moved ? now : os_refuse();
#endif
}

/* Can the break still be moved, in a child? fork copies the kernel's record of the break before
 * the memory itself. If another thread moved the break in between, the record is wrong: the
 * kernel finds memory in the way and refuses, or "moves" the break without any memory. */
UNUSED static bool os_break_obeys(void) {
    char *now = os_break(0);
    intptr_t page = (intptr_t)os_page_size();
    return (char *)syscall(SYS_brk, 0) == now && os_break(page) == now &&
           os_break(-page) == now + page;
}
