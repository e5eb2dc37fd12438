/* structure/mappings: each large block that is freed leaves a page of another kind between others. */
#define FREE leaving_free
#include "base.h"

enum { NOTICED = 100000, PAGE = 4096 };
static atomic_int left;

void leaving_free(void *p) {
    if (p && honest_usable_size(p) >= NOTICED) {
        int may = atomic_fetch_add(&left, 1) % 2 ? PROT_NONE : PROT_READ, saved = errno;
        mmap(NULL, PAGE, may, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        errno = saved;
    }
    honest_free(p);
}
