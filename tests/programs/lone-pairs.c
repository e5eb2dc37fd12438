/* A program frees its only block and allocates again, many times. The malloc may keep that much
 * memory: to give it back each time costs a system call, and a page fault by the next write.
 *
 *     lone-pairs [pairs]
 */
#include "program.h"
#include <sys/resource.h>

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

int main(int argc, char **argv) {
    long pairs = argument(argc, argv, 1, 10000), before = 0;
    for (long i = -100; i < pairs; i++) {
        if (i == 0)
            before = faults();
        char *p = must_malloc(32);
        *p = 1;
        free(p);
    }
    long found = faults() - before;
    check(found < pairs / 100, "%ld page faults in %ld pairs", found, pairs);
    return 0;
}
