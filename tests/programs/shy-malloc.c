/* shy-malloc.c: a malloc such as students write: its calloc calls its malloc, its realloc
 * malloc and free, through the dynamic linker. It never reuses, takes no lock, and may
 * be interrupted anywhere by a signal handler that allocates. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

void *malloc(size_t size);
void free(void *p);

static char memory[256 * 1024 * 1024];
static atomic_size_t used;

void *malloc(size_t size) {
    size_t room = ((size + 15) & ~(size_t)15) + 16;
    size_t at = atomic_fetch_add(&used, room);
    if (room < size || at + room > sizeof memory)
        return NULL;
    memcpy(memory + at, &size, sizeof size);
    return memory + at + 16;
}

void free(void *p) { (void)p; }

void *calloc(size_t count, size_t size) { return malloc(count * size); }

void *realloc(void *p, size_t size) {
    void *q = malloc(size);
    size_t old = 0;
    if (p)
        memcpy(&old, (char *)p - 16, sizeof old);
    if (q && p)
        memcpy(q, p, old < size ? old : size);
    if (q)
        free(p);
    return q;
}
