/* process/seccomp: now and then the kernel is asked what a sandbox need not allow. */
#define FREE asking_free
#include "base.h"
#include <sys/syscall.h>

static atomic_ulong calls;

void asking_free(void *p) {
    if (atomic_fetch_add(&calls, 1) % 1000 == 999) {
        int saved = errno;
        syscall(SYS_getrusage, 0, &(char[512]){0});
        errno = saved;
    }
    honest_free(p);
}
