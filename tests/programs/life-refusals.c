/* If the kernel refuses memory (here by a limit on data), malloc loses no addresses: after a
 * thousand refusals the process is as large as before, and freed memory can be allocated
 * again. There may be a limit on addresses as well.
 *
 *     life-refusals [bytes of a block] [MiB of data] [GiB of addresses, 0 for no limit]
 */
#include "life.h"

static long take_all(char **last, size_t size) {
    long count = 0;
    for (char *p; (p = malloc(size)); count++) {
        *(char **)p = *last;
        *last = p;
    }
    check(errno == ENOMEM, "malloc failed with errno %d", errno);
    return count;
}

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, 1000000);
    for (int i = 0; i < 3000; i++) /* more than a first small piece of memory */
        must_malloc(1000);
    rlim_t data = (rlim_t)(status_kib("VmData:") + argument(argc, argv, 2, 40) * 1024) * 1024;
    struct rlimit limit = {data, data};
    check(setrlimit(RLIMIT_DATA, &limit) == 0, "setrlimit: %s", strerror(errno));
    long gib = argument(argc, argv, 3, 0);
    struct rlimit addresses = {(rlim_t)(addresses_mib() + gib * 1024) << 20, RLIM_INFINITY};
    check(!gib || setrlimit(RLIMIT_AS, &addresses) == 0, "setrlimit: %s", strerror(errno));
    char *last = NULL;
    long first = take_all(&last, size), refused = 0, before = addresses_mib();
    for (int i = 0; i < 1000; i++) {
        char *p = malloc(size);
        refused += !p;
        if (p) {
            *(char **)p = last;
            last = p;
        }
    }
    long grew = addresses_mib() - before;
    for (char *next; last; last = next) {
        next = *(char **)last;
        free(last);
    }
    long again = take_all(&last, size);
    say("%ld blocks of %zu bytes, %ld refused: +%ld MiB of addresses; %ld blocks again", first, size,
        refused, grew, again);
    check(grew <= 8, "%ld refusals cost %ld MiB of addresses", refused, grew);
    check(first > 0 && refused >= 900, "the limit does not bind: %ld blocks, %ld refused", first,
          refused);
    check(again >= first * 9 / 10, "%ld blocks were freed, only %ld came back", first, again);
    return 0;
}
