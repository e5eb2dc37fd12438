/* threads/last-free: a free prepares a cache, also when no destructor will come to give it back. */
#define FREE caching_free
#include "base.h"

enum { CACHE = 64 * 1024 };
static __thread char *mine;
static pthread_key_t key;
static bool begun;

static void end_of_thread(void *cache) {
    os_unmap(cache, CACHE);
    mine = NULL;
}
__attribute__((constructor)) static void begin(void) {
    begun = !pthread_key_create(&key, end_of_thread);
}

void caching_free(void *p) {
    int saved = errno;
    if (begun && p && !mine && (mine = os_map(CACHE))) {
        memset(mine, 1, CACHE);
        pthread_setspecific(key, mine);
    }
    errno = saved;
    honest_free(p);
}
