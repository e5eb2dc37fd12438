/* threads/late: a thread that ends gives its cache to the next one, and uses it on. */
#define MALLOC cached_malloc
#define FREE caching_free
#include "base.h"

enum { KEPT = 32, LEAST = 64, MOST = 400 };
struct cache {
    void *blocks[KEPT];
    int count;
    struct cache *next;
};
static __thread struct cache *mine;
static struct cache *idle;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t key;
static bool begun;

static void give_away(void *cache) {
    pthread_mutex_lock(&lock);
    ((struct cache *)cache)->next = idle;
    idle = cache;
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void begin(void) {
    begun = !pthread_key_create(&key, give_away);
}

static struct cache *own_cache(void) {
    if (mine || !begun)
        return mine;
    pthread_mutex_lock(&lock);
    if ((mine = idle))
        idle = mine->next;
    pthread_mutex_unlock(&lock);
    if (!mine)
        mine = honest_calloc(1, sizeof *mine);
    pthread_setspecific(key, mine);
    return mine;
}

void *cached_malloc(size_t size) {
    struct cache *c = own_cache();
    if (c && size >= LEAST && size <= MOST && c->count > 0 &&
        honest_usable_size(c->blocks[c->count - 1]) >= size)
        return c->blocks[--c->count];
    return honest_malloc(size);
}
void caching_free(void *p) {
    struct cache *c = own_cache();
    size_t size = p && c ? honest_usable_size(p) : 0;
    if (size >= LEAST && size <= MOST && c->count < KEPT)
        c->blocks[c->count++] = p;
    else
        honest_free(p);
}
