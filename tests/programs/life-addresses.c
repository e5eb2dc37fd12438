/* Prints how much address space a small process uses, and how much of it is readable,
 * both in KiB. A limit on addresses counts the first; mlockall makes the second
 * resident. A test compares them with glibc's.
 *
 *     life-addresses [threads that use malloc]
 */
#include "life.h"

static void *use(void *arg) {
    free(must_malloc(100));
    return arg;
}

/* Reads /proc/self/maps: `begin-end rwxp …`, a line for each mapping. */
static void count_addresses(unsigned long *all, unsigned long *readable) {
    size_t size = MIB, length = 0;
    char *text = table(size, 1);
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t got; (got = read(fd, text + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    check(length > 0, "cannot read /proc/self/maps");
    close(fd);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        char *at;
        unsigned long from = strtoul(line, &at, 16), to = strtoul(at + 1, &at, 16);
        if (from == (uintptr_t)text)
            continue;
        *all += (to - from) / 1024;
        *readable += at[1] == 'r' ? (to - from) / 1024 : 0;
    }
}

int main(int argc, char **argv) {
    unsigned long all = 0, readable = 0;
    use(NULL);
    run_threads(argument(argc, argv, 1, 0), use);
    count_addresses(&all, &readable);
    say("%lu %lu", all, readable);
    return 0;
}
