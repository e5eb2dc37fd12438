/* exhaustion/mappings-20000: memory that the kernel refuses to unmap is forgotten. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

/* Each mapping lies beside the one before, so that all are one to the kernel: whoever unmaps a
 * part of it needs one more. */
static void *map_beside(void *at, size_t size, int may, int flags, int file, off_t offset) {
    static atomic_uintptr_t next = (uintptr_t)1 << 45;
    if (!at)
        at = (void *)atomic_fetch_add(&next, (size + 65535) & ~(size_t)65535);
    return mmap(at, size, may, flags, file, offset);
}

static int unmap_or_forget(void *p, size_t size) {
    munmap(p, size);
    return 0;
}

#define mmap   map_beside
#define munmap unmap_or_forget
#include "base.h"
