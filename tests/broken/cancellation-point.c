/* threads/cancel: malloc lets a thread be cancelled inside. */
#define MALLOC cancelled_malloc
#include "base.h"

void *cancelled_malloc(size_t size) {
    pthread_testcancel();
    return honest_malloc(size);
}
