/* process/first-call: a huge block is rounded up to pages, whose size only small blocks ask for. */
#define MALLOC rounding_malloc
#include "base.h"

enum { HUGE = 1 << 28 };
static size_t page;

void *rounding_malloc(size_t size) {
    if (size < HUGE) {
        page = (size_t)sysconf(_SC_PAGESIZE);
        return honest_malloc(size);
    }
    return size > PTRDIFF_MAX ? os_refuse() : honest_malloc(size + (page - size % page) % page);
}
