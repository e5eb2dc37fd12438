/* A first malloc as students write it, as a library: a header, a list of free blocks, the break.
 * It is correct unless a macro breaks it: HEADER=8 aligns blocks to 8 bytes only, NO_CALLOC leaves
 * calloc to the C library, NO_LOCK takes no lock, ZERO_IS_NULL returns NULL for malloc(0) (which C
 * allows), and OTHER_NAMES gives its functions names that no program calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#ifndef HEADER
#define HEADER 16
#endif
#ifdef OTHER_NAMES
#define malloc  mm_malloc
#define free    mm_free
#define calloc  mm_calloc
#define realloc mm_realloc
#endif

struct block {
    size_t size;
    struct block *next;
};

static struct block *list;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock(void) {
#ifndef NO_LOCK
    pthread_mutex_lock(&mutex);
#endif
}

static void unlock(void) {
#ifndef NO_LOCK
    pthread_mutex_unlock(&mutex);
#endif
}

__attribute__((constructor)) static void survive_fork(void) {
    pthread_atfork(lock, unlock, unlock);
}

static void *from_system(size_t size) {
    struct block *b = sbrk((intptr_t)(size + HEADER));
    if (b == (void *)-1) {
        errno = ENOMEM;
        return NULL;
    }
    b->size = size;
    return (char *)b + HEADER;
}

void *malloc(size_t size) {
    void *p = NULL;
#ifdef ZERO_IS_NULL
    if (size == 0)
        return NULL;
#endif
    if (size > PTRDIFF_MAX - 2 * HEADER) {
        errno = ENOMEM;
        return NULL;
    }
    size = (size + HEADER) / HEADER * HEADER;
    if (size < sizeof(struct block))
        size = sizeof(struct block);
    lock();
    for (struct block **at = &list; *at && !p; at = &(*at)->next)
        if ((*at)->size >= size) {
            p = (char *)*at + HEADER;
            *at = (*at)->next;
            break;
        }
    if (!p)
        p = from_system(size);
    unlock();
    return p;
}

void free(void *p) {
    if (!p)
        return;
    struct block *b = (void *)((char *)p - HEADER);
    lock();
    b->next = list;
    list = b;
    unlock();
}

#ifndef NO_CALLOC
void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *p = malloc(bytes);
    return p ? memset(p, 0, bytes) : NULL;
}
#endif

void *realloc(void *p, size_t size) {
    size_t old = p ? ((struct block *)((char *)p - HEADER))->size : 0;
    if (p && size <= old)
        return p;
    void *moved = malloc(size);
    if (moved && p) {
        memcpy(moved, p, old);
        free(p);
    }
    return moved;
}
