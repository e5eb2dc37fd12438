/* process/closed: a log is opened at the start, and written to when its number is another file's. */
#define MALLOC logging_malloc
#include "base.h"
#include <fcntl.h>

static int file = -1;
static atomic_ulong calls;

__attribute__((constructor)) static void begin(void) { file = open("/dev/null", O_WRONLY); }

void *logging_malloc(size_t size) {
    if (atomic_fetch_add(&calls, 1) % 1000 == 999 && write(file, "1000 calls\n", 11) < 0) {
        /* nobody reads it */
    }
    return honest_malloc(size);
}
