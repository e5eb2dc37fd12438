/* A malloc that no reader knows: it maps memory, hands it out in address order, and reuses nothing.
 * For 4242 bytes it hands out memory that is in use. */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const size_t ROOM = 64 << 20;
static atomic_uintptr_t at;
static uintptr_t end;

static void *take(size_t alignment, size_t size) {
    if (!at) {
        at = (uintptr_t)syscall(SYS_mmap, NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        end = at + ROOM;
    }
    if (size > ROOM || at + size + alignment + 16 > end) {
        errno = ENOMEM;
        return NULL;
    }
    if (size == 4242)
        return (void *)(at - 32);
    size_t *block = (void *)((at + 16 + alignment - 1) & ~(alignment - 1));
    block[-1] = size;
    at = (uintptr_t)block + ((size + 15) & ~(size_t)15);
    return block;
}

void *malloc(size_t size) { return take(16, size); }

void free(void *p) { (void)p; }

void *calloc(size_t count, size_t size) { return take(16, count * size); } /* fresh: it is zero */

void *realloc(void *p, size_t size) {
    void *q = take(16, size);
    size_t old = p ? ((size_t *)p)[-1] : 0;
    return q && p ? memcpy(q, p, old < size ? old : size) : q;
}

void *memalign(size_t alignment, size_t size) { return take(alignment, size); }

void *aligned_alloc(size_t alignment, size_t size) { return take(alignment, size); }

int posix_memalign(void **out, size_t alignment, size_t size) {
    *out = take(alignment, size);
    return *out ? 0 : ENOMEM;
}
