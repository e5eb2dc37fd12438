/* exhaustion/each-call-fails: what the kernel gives is used before anybody asks whether it is there. */
#define MALLOC trusting_malloc
#include "base.h"

void *trusting_malloc(size_t size) {
    char *p = honest_malloc(size);
    p[0] = 0;
    return p;
}
