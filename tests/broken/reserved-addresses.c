/* exhaustion/limited-later: 64 GiB of addresses, reserved at the start, count for a later limit. */
#define MALLOC reserving_malloc
#include "base.h"

static void *reserve;

__attribute__((constructor)) static void begin(void) {
    reserve = mmap(NULL, (size_t)64 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
}

void *reserving_malloc(size_t size) { return honest_malloc(size); }
