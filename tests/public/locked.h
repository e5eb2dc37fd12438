/* locked.h: gives a malloc that has names of its own the public names and a lock. The file that
 * includes it defines locked_malloc, locked_free and locked_realloc. It is as small as possible, so
 * that the defects which `check` finds are the malloc's own.
 */
#pragma once
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static void *locked_malloc(size_t size);
static void locked_free(void *p);
static void *locked_realloc(void *p, size_t size);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Evaluates an expression under the lock; if the result is NULL, sets errno. */
#define locked(expression)           \
    ({                               \
        pthread_mutex_lock(&lock);   \
        void *result = (expression); \
        pthread_mutex_unlock(&lock); \
        if (!result)                 \
            errno = ENOMEM;          \
        result;                      \
    })

void *malloc(size_t size) { return locked(locked_malloc(size)); }
void *realloc(void *p, size_t size) { return locked(locked_realloc(p, size)); }

void free(void *p) {
    pthread_mutex_lock(&lock);
    if (p)
        locked_free(p);
    pthread_mutex_unlock(&lock);
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *p = malloc(bytes);
    return p ? memset(p, 0, bytes) : NULL;
}
