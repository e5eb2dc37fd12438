/* exhaustion/locked: a reserve of readable pages from the start is locked with the rest. */
#define MALLOC reserving_malloc
#include "base.h"

static void *reserve;

__attribute__((constructor)) static void begin(void) {
    reserve = mmap(NULL, (size_t)1 << 30, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

void *reserving_malloc(size_t size) { return honest_malloc(size); }
