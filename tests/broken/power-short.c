/* semantics/powers: a large block of exactly a power of two is a page shorter than that. */
#define MALLOC short_malloc
#include "base.h"

enum { SHORT_FROM = 8 << 20, PAGE = 4096 };

void *short_malloc(size_t size) {
    char *p = honest_malloc(size);
    if (p && size >= SHORT_FROM && is_power_of_two(size))
        mprotect(p + size - PAGE, PAGE, PROT_READ);
    return p;
}
