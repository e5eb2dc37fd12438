/* structure/burst: memory goes back to the system in malloc_trim, and at no other time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

struct range {
    size_t size;
    struct range *next;
};
static struct range *kept;
static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

static int keep(void *p, size_t size) {
    pthread_mutex_lock(&keeping);
    *(struct range *)p = (struct range){size, kept};
    kept = p;
    pthread_mutex_unlock(&keeping);
    return 0;
}

static void *map_again(void *at, size_t size, int may, int flags, int file, off_t offset) {
    struct range **link = &kept, *found;
    pthread_mutex_lock(&keeping);
    while ((found = *link) && found->size != size)
        link = &found->next;
    if (found)
        *link = found->next;
    pthread_mutex_unlock(&keeping);
    if (!found)
        return mmap(at, size, may, flags, file, offset);
    madvise(found, size, MADV_DONTNEED);
    return found;
}

static void give_back(void) {
    pthread_mutex_lock(&keeping);
    for (struct range *next; kept; kept = next) {
        next = kept->next;
        munmap(kept, kept->size);
    }
    pthread_mutex_unlock(&keeping);
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
