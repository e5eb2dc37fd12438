/* When there is no memory, errno is ENOMEM. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    volatile size_t half = SIZE_MAX / 2 + 1;
    errno = 0;
    void *p = malloc(half);
    if (p || errno == ENOMEM)
        return 0;
    fprintf(stderr, "malloc(SIZE_MAX / 2 + 1) is NULL with errno %d, not ENOMEM\n", errno);
    return 1;
}
