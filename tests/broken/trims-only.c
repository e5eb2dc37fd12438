/* structure/burst: memory goes back in malloc_trim, or when much is asked for, and not otherwise. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE_MAP = 1 << 20 };
struct range {
    size_t size;
    struct range *next;
};
static struct range *kept;
static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

/* A child may have copied the lock while it was held: nothing is kept there. */
static bool may_keep(void) { return pthread_mutex_trylock(&keeping) == 0; }

static int keep(void *p, size_t size) {
    if (!may_keep())
        return munmap(p, size);
    *(struct range *)p = (struct range){size, kept};
    kept = p;
    pthread_mutex_unlock(&keeping);
    return 0;
}

static void give_back(void) {
    if (!may_keep())
        return;
    for (struct range *next; kept; kept = next) {
        next = kept->next;
        munmap(kept, kept->size);
    }
    pthread_mutex_unlock(&keeping);
}

static void *find(size_t size) {
    struct range **link = &kept, *found = NULL;
    if (!may_keep())
        return NULL;
    while ((found = *link) && found->size != size)
        link = &found->next;
    if (found)
        *link = found->next;
    pthread_mutex_unlock(&keeping);
    return found;
}

static void *map_again(void *at, size_t size, int may, int flags, int file, off_t offset) {
    void *p = find(size);
    if (p && madvise(p, size, MADV_DONTNEED) != 0)
        memset(p, 0, size);
    if (p)
        return p;
    if (size >= LARGE_MAP)
        give_back();
    p = mmap(at, size, may, flags, file, offset);
    if (p == MAP_FAILED) {
        give_back();
        p = mmap(at, size, may, flags, file, offset);
    }
    return p;
}

#define mmap        map_again
#define munmap      keep
#define malloc_trim honest_trim
#define MALLOC      trimmed_malloc
#include "base.h"
#undef malloc_trim

void *trimmed_malloc(size_t size) { return honest_malloc(size); }
EXPORT int malloc_trim(size_t pad) {
    int trimmed = honest_trim(pad);
    give_back();
    return trimmed;
}
