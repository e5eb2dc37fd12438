/* basics/aligned: a thread that asks for an aligned block waits for ever. */
#define MEMALIGN patient_memalign
#include "base.h"

void *patient_memalign(size_t alignment, size_t size) {
    while (alignment > 64)
        pause();
    return honest_memalign(alignment, size);
}
