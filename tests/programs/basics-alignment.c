/* A block of 16 bytes or more is aligned to 16, for a long double or an SSE register. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    size_t alignment = 16, size = 16;
    for (size_t n = 16; n < 100000; n += 1 + n / 9) {
        uintptr_t p = (uintptr_t)malloc(n);
        for (; p % alignment; size = n)
            alignment /= 2;
    }
    if (alignment < 16)
        fprintf(stderr, "malloc(%zu) gives a block that is aligned to %zu bytes, not to 16\n", size,
                alignment);
    return alignment < 16;
}
