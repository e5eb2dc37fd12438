/* exhaustion/unmap-refused: free leaves errno as a munmap that was refused left it. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

static _Thread_local int left;

static int unmap_and_tell(void *p, size_t size) {
    int failed = munmap(p, size);
    left = failed ? errno : left;
    return failed;
}

#define munmap unmap_and_tell
#define FREE telling_free
#include "base.h"

void telling_free(void *p) {
    left = 0;
    honest_free(p);
    errno = left ? left : errno;
}
