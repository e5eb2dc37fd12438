/* A process has a limited number of mappings (vm.max_map_count), and unmapping the
 * middle of one makes two. When there are too many, the kernel refuses to unmap: free
 * keeps errno all the same, and nothing is lost: the memory is handed out again or
 * goes back later, and the heap stays sound.
 *
 * Address space that stays mapped may be a cache, or a heap that grows by steps (jemalloc retains
 * all that it ever mapped; it has enough after five rounds, and now and then maps more later). A
 * malloc that loses memory loses some in each round, so it fails only if it grows in every one of
 * several rounds.
 *
 *     exhaustion-mappings [blocks] [size of a block] [rounds that may all grow]
 */
#include "program.h"
#include "libmalloc.h"
#include <sys/mman.h>

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));

static void report(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

static long address_space_kib(void) {
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    check(read(fd, text, sizeof text - 1) > 0, "cannot read /proc/self/statm");
    close(fd);
    return strtol(text, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024);
}

enum { ROOM = 4000 }; /* mappings that are given back in between, and taken again */
static size_t page;

/* Uses up all mappings, by making single pages unlike their neighbours; returns where the last is. */
static char *use_mappings_up(char *from, char *end) {
    for (char *p = from; p < end; p += 2 * page)
        if (mprotect(p, page, PROT_READ) != 0) {
            check(errno == ENOMEM, "mprotect: %s", strerror(errno));
            return p;
        }
    check(false, "the number of mappings is not limited: vm.max_map_count is over 200,000");
    return NULL;
}

/* Makes the last of these pages like their neighbours again; returns where the first of them is. */
static char *make_room(char *area, char *full) {
    size_t length = 2 * ROOM * page;
    char *from = full - area > (ptrdiff_t)length ? full - length : area;
    check(mprotect(from, (size_t)(full - from), PROT_NONE) == 0, "mprotect: %s", strerror(errno));
    return from;
}

int main(int argc, char **argv) {
    long count = argument(argc, argv, 1, 400);
    size_t size = (size_t)argument(argc, argv, 2, 200000);
    long patience = argument(argc, argv, 3, 12);
    static char *blocks[10000];
    page = (size_t)sysconf(_SC_PAGESIZE);
    size_t length = 2 * 100000 * page;
    char *area = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(area != MAP_FAILED, "mmap: %s", strerror(errno));
    char *used = area;
    check(count <= 10000, "10,000 blocks at most");
    free(must_malloc(size));
    long before = 0;
    for (long round = 0; round <= patience; round++) {
        for (long i = 0; i < count; i++)
            fill(blocks[i] = must_malloc(size), size, 1);
        used = use_mappings_up(used, area + length);
        for (int half = 0; half < 2; half++) /* every other one, then the rest */
            for (long i = half; i < count; i += 2) {
                check_filled(blocks[i], size, 1);
                errno = 12345;
                free(blocks[i]);
                check(errno_kept(12345), "free changed errno to %d", errno);
                char *p = malloc(size); /* works or not, but errno says why */
                check(p || says_enomem(), "malloc failed with errno %d", errno);
                free(p);
            }
        check(!libmalloc_check || libmalloc_check(report, NULL) <= 0, "the heap is broken");
        used = make_room(area, used);
        check(!libmalloc_check || libmalloc_check(report, NULL) == 0, "the heap is broken");
        for (long i = 0; i < count; i++)
            free(must_malloc(size));
        malloc_trim(0);
        long now = address_space_kib(), grown = now - before;
        if (round > 0 && grown <= count * (long)(size / 1024) / 20)
            return 0;
        check(round < patience, "%ld KiB more were lost in round %ld, as in all before", grown, round);
        before = now;
    }
    return 0;
}
