/* semantics/errno: free leaves the errno of a system call that it made behind. */
#define FREE careless_free
#include "base.h"

void careless_free(void *p) {
    honest_free(p);
    madvise((void *)1, 1, MADV_DONTNEED);
}
