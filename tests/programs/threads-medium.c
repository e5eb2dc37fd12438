/* Threads free blocks of 5 to 500 KiB, their own and those of others, and end. The next threads use
 * this memory: it depends on the live blocks, not on how many threads there have been.
 *
 *     threads-medium [threads] [KiB that may stay resident; 0: any]
 */
#include "program.h"

enum { SIZES = 10, FIRST = 5 << 10 };
static char *left[SIZES];

static size_t size_of(int i) { return (size_t)FIRST << i * 2 / 3 | (size_t)i * 112; }

static char *make(int i) {
    size_t size = size_of(i);
    char *p = must_malloc(size);
    for (size_t at = 0; at < size; at += 4096)
        p[at] = (char)i;
    p[size - 1] = (char)i;
    return p;
}

static void let_go(char *p, int i) {
    size_t size = size_of(i);
    for (size_t at = 0; at < size; at += 4096)
        check(p[at] == (char)i, "byte %zu of %zu was changed", at, size);
    check(p[size - 1] == (char)i, "the last byte of %zu was changed", size);
    free(p);
}

static void *live_and_die(void *arg) {
    char *own[SIZES];
    for (int i = 0; i < SIZES; i++)
        own[i] = make(i);
    for (int i = 0; i < SIZES; i++) {
        if (left[i])
            let_go(left[i], i);
        left[i] = make(i);
    }
    for (int i = 0; i < SIZES; i++)
        let_go(own[i], i);
    return arg;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 400), allowed = argument(argc, argv, 2, 0);
    for (int i = 0; i < 8; i++)
        join(start(live_and_die, NULL));
    long first = resident_kib();
    for (long i = 8; i < threads; i++)
        join(start(live_and_die, NULL));
    long grown = resident_kib() - first;
    check(!allowed || grown <= allowed,
          "%ld threads that freed blocks of 5 to 500 KiB left %ld KiB behind", threads, grown);
    return 0;
}
