/* A process has a limited number of mappings (vm.max_map_count), and unmapping the
 * middle of one makes two. When there are too many, the kernel refuses to unmap: free
 * keeps errno all the same, and nothing is lost: the memory is handed out again or
 * goes back later, and the heap stays sound.
 *
 *     exhaustion-mappings [blocks] [size of a block]
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

/* Uses all mappings up but for a few, by making single pages unlike their neighbours. */
static void use_mappings_up(char **area, size_t *length) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *length = 2 * 100000 * page;
    *area = mmap(NULL, *length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(*area != MAP_FAILED, "mmap: %s", strerror(errno));
    for (char *p = *area; p < *area + *length; p += 2 * page)
        if (mprotect(p, page, PROT_READ) != 0) {
            check(errno == ENOMEM, "mprotect: %s", strerror(errno));
            return;
        }
    check(false, "the number of mappings is not limited: vm.max_map_count is over 200,000");
}

int main(int argc, char **argv) {
    long count = argument(argc, argv, 1, 400);
    size_t size = (size_t)argument(argc, argv, 2, 200000);
    static char *blocks[10000], *area;
    size_t length;
    check(count <= 10000, "10,000 blocks at most");
    free(must_malloc(size));
    long before = 0;
    for (long round = 0; round < 3; round++) {
        for (long i = 0; i < count; i++)
            fill(blocks[i] = must_malloc(size), size, 1);
        use_mappings_up(&area, &length);
        for (int half = 0; half < 2; half++) /* every other one, then the rest */
            for (long i = half; i < count; i += 2) {
                check_filled(blocks[i], size, 1);
                errno = 12345;
                free(blocks[i]);
                check(errno == 12345, "free changed errno to %d", errno);
                char *p = malloc(size); /* works or not, but errno says why */
                check(p || errno == ENOMEM, "malloc failed with errno %d", errno);
                free(p);
            }
        check(!libmalloc_check || libmalloc_check(report, NULL) <= 0, "the heap is broken");
        munmap(area, length);
        check(!libmalloc_check || libmalloc_check(report, NULL) == 0, "the heap is broken");
        for (long i = 0; i < count; i++)
            free(must_malloc(size));
        malloc_trim(0);
        if (round == 0) /* kept once is a cache; lost is lost again in each round */
            before = address_space_kib();
        long lost = address_space_kib() - before;
        check(lost <= count * (long)(size / 1024) / 10, "%ld KiB were lost in round %ld", lost, round);
    }
    return 0;
}
