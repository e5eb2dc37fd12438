/* basics/enomem: what cannot be had is NULL, but nobody says why. */
#define MALLOC silent_malloc
#include "base.h"

void *silent_malloc(size_t size) {
    int saved = errno;
    void *p = honest_malloc(size);
    errno = saved;
    return p;
}
