/* When memory runs out, every function returns NULL with ENOMEM and leaves its argument
 * unchanged; the heap stays sound, serves what it still can, and reuses freed memory. The
 * limit is on data (ulimit -d) or on the address space (-v), and is set before the start,
 * because it would not bind a malloc that has reserved addresses before.
 *
 *     exhaustion-limit [as|data] [MiB left] [size of a block] [is what was freed reused?]
 */
#include "program.h"
#include "libmalloc.h"
#include <sys/resource.h>

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));

static size_t size, much;
static struct rlimit unlimited;

/* Blocks are chained through their first word: a table would need memory itself. */
struct block {
    struct block *next;
};

static void report(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

static void check_sound(void) {
    check(!libmalloc_check || libmalloc_check(report, NULL) <= 0, "the heap is broken");
}

static long field_of(const char *path, const char *name) {
    static char text[4096];
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    check(got > 0, "cannot read %s", path);
    text[got] = 0;
    close(fd);
    char *at = strstr(text, name);
    check(at, "no %s in %s", name, path);
    return strtol(at + strlen(name), NULL, 10);
}

enum { PROGRAM = 32 }; /* MiB of addresses for the program itself and its libraries */

static void limit(int resource, long mib) {
    check(getrlimit(resource, &unlimited) == 0, "getrlimit failed");
    unlimited.rlim_cur = unlimited.rlim_max;
    struct rlimit now = unlimited;
    now.rlim_cur = (rlim_t)mib << 20;
    check(setrlimit(resource, &now) == 0, "setrlimit failed");
}

/* Begins again with the limit; the second time it is there. */
static void limit_addresses(long mib, char **argv) {
    struct rlimit now;
    check(getrlimit(RLIMIT_AS, &now) == 0, "getrlimit failed");
    unlimited = (struct rlimit){now.rlim_max, now.rlim_max};
    if (now.rlim_cur == (rlim_t)(PROGRAM + mib) << 20)
        return;
    limit(RLIMIT_AS, PROGRAM + mib);
    execv("/proc/self/exe", argv);
    check(false, "exec: %s", strerror(errno));
}

/* Allocates until malloc returns NULL with ENOMEM. Returns the number of blocks. */
static long take_all(struct block **all) {
    long count = 0;
    for (;; count++) {
        errno = 0;
        struct block *b = malloc(size);
        if (!b) {
            check(says_enomem(), "malloc failed with errno %d", errno);
            return count;
        }
        fill(b + 1, size - sizeof *b, 1);
        b->next = *all;
        *all = b;
    }
}

static void free_all(struct block *b) {
    while (b) {
        struct block *next = b->next;
        check_filled(b + 1, size - sizeof *b, 1);
        free(b);
        b = next;
    }
}

#define refused(call)                                                                              \
    do {                                                                                           \
        errno = 0;                                                                                 \
        void *p_ = (call);                                                                         \
        check(!p_, #call " found memory");                                                         \
        check(says_enomem(), #call " failed with errno %d", errno);                                \
    } while (0)

static void all_refuse_aligned(void) {
    if (!lacks("aligned_alloc")) {
        refused(aligned_alloc(64, much));
        refused(aligned_alloc(1 << 16, much));
    }
    if (!lacks("memalign"))
        refused(memalign(64, much));
    if (!lacks("valloc"))
        refused(valloc(much));
    if (!lacks("pvalloc"))
        refused(pvalloc(much));
    if (lacks("posix_memalign"))
        return;
    void *untouched = &size;
    errno = 12345;
    check(posix_memalign(&untouched, 64, much) == ENOMEM, "posix_memalign found memory");
    check(untouched == &size, "posix_memalign was refused and stored a pointer");
    check(errno == 12345 || !libmalloc_check, "posix_memalign changed errno");
}

static void all_refuse(struct block *mine) {
    refused(malloc(much));
    refused(calloc(1, much));
    refused(calloc(much, 1));
    refused(realloc(NULL, much));
    refused(realloc(mine, much));
    if (!lacks("reallocarray")) {
        refused(reallocarray(NULL, 1, much));
        refused(reallocarray(mine, much, 1));
    }
    all_refuse_aligned();
    check_filled(mine + 1, size - sizeof *mine, 1);
    check(usable_size(mine, size) >= size, "a failed realloc changed the block");
}

int main(int argc, char **argv) {
    bool data = argc > 1 && strcmp(argv[1], "data") == 0;
    long mib = argument(argc, argv, 2, 32);
    size = (size_t)argument(argc, argv, 3, 5000);
    bool reuses = argument(argc, argv, 4, 1);
    much = (size_t)(2 * PROGRAM + 2 * mib) << 20;
    if (data)
        limit(RLIMIT_DATA, field_of("/proc/self/status", "VmData:") / 1024 + mib);
    else
        limit_addresses(mib, argv);

    struct block *all = NULL;
    long first = take_all(&all);
    check(first * (long)size > mib * 1024 * 512, "only %ld blocks in %ld MiB", first, mib);
    if (reuses)
        all_refuse(all);
    check_sound();
    struct block *half = all, *rest; /* every other one is freed and allocated again */
    for (long i = 0; i < first / 2 - 1; i++)
        half = half->next;
    rest = half->next;
    half->next = NULL;
    free_all(all);
    check_sound();
    all = rest;
    long again = take_all(&all);
    check(!reuses || again >= first / 2 * 9 / 10, "%ld freed, only %ld came back", first / 2, again);
    free_all(all);
    check_sound();
    all = NULL;
    again = take_all(&all);
    check(!reuses || again >= first * 9 / 10, "%ld freed, only %ld came back", first, again);
    free_all(all);

    check(setrlimit(data ? RLIMIT_DATA : RLIMIT_AS, &unlimited) == 0, "setrlimit failed");
    void *p = must_malloc(reuses ? much : size);
    fill(p, size, 2);
    free(p);
    check_sound();
    return 0;
}
