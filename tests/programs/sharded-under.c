/* sharded itself, compiled into a program under other names, so that a sanitizer sees each
 * of sharded's memory accesses: threads make blocks, hand them over, free each other's and
 * their own, while others walk, check and trim the heap. The malloc of the process remains
 * the sanitizer's.
 *
 *     cc -fsanitize=thread … -o sharded-under && ./sharded-under [threads] [rounds]
 */
#include "program.h"

/* When a thread ends, the kernel marks its heap's robust mutex. All that the thread did has
 * happened before then, but the thread sanitizer does not know what the kernel does. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *);
void __tsan_release(void *);
static char graveyard;
#define thread_ends() __tsan_release(&graveyard)
#define pthread_mutex_trylock(mutex)                                                               \
    __extension__({                                                                                \
        int error_ = (pthread_mutex_trylock)(mutex);                                               \
        __tsan_acquire(&graveyard);                                                                \
        error_;                                                                                    \
    })
#else
#define thread_ends() (void)0
#endif

#include "under.h"

enum { SLOTS = 512, THREADS = 16, LARGEST = 6000 };

static struct {
    _Alignas(64) _Atomic(unsigned char *) block;
} slots[SLOTS];
static long rounds;
static atomic_bool done;

static size_t size_of(const unsigned char *p) {
    size_t size;
    memcpy(&size, p, sizeof size);
    return size;
}

static unsigned char *block_make(uint64_t *random) {
    size_t size = 1 + sizeof size + chance_size(random, chance_below(random, 50) ? LARGEST : 300000);
    unsigned char *p = chance_below(random, 4) ? malloc(size) : calloc(1, size);
    check(p, "no memory for %zu bytes", size);
    memcpy(p, &size, sizeof size);
    p[size - 1] = (unsigned char)size;
    return p;
}

static void block_end(unsigned char *p, uint64_t *random) {
    if (!p)
        return;
    size_t size = size_of(p), more = size + chance_below(random, 100);
    check(p[size - 1] == (unsigned char)size, "the end of %p changed", (void *)p);
    check(malloc_usable_size(p) >= size, "%p became smaller", (void *)p);
    if (chance_below(random, 8) == 0)
        check((p = realloc(p, more)) && size_of(p) == size, "realloc lost content");
    free(p);
}

/* Some blocks go through the slots, some stay with their thread. */
static void *live(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    unsigned char *mine[32] = {NULL};
    for (long i = 0; i < rounds; i++) {
        size_t k = chance_below(&random, 32), slot = chance_below(&random, SLOTS);
        block_end(mine[k], &random);
        mine[k] = block_make(&random);
        block_end(atomic_exchange(&slots[slot].block, block_make(&random)), &random);
    }
    for (int k = 0; k < 32; k++)
        block_end(mine[k], &random);
    thread_ends();
    return NULL;
}

static int visit(const struct libmalloc_chunk *chunk, void *arg) {
    *(size_t *)arg += chunk->kind == LIBMALLOC_LIVE;
    return 0;
}

static void complain(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

static void *inspect(void *arg) {
    size_t seen = 0;
    struct libmalloc_stats stats = {.size = sizeof stats};
    while (!atomic_load(&done)) {
        check(libmalloc_check(complain, NULL) == 0, "the heap is broken");
        check(libmalloc_walk(visit, &seen) == 0 && libmalloc_stats(&stats) == 0, "no picture");
        malloc_trim(0);
        os_nap(1000000);
    }
    return arg;
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 4);
    rounds = argument(argc, argv, 2, 3000);
    check(threads <= THREADS, "%d threads at most", THREADS);
    pthread_t ids[THREADS], inspector = start(inspect, NULL);
    for (int generation = 0; generation < 3; generation++) { /* the next one adopts the heaps */
        for (long i = 0; i < threads; i++)
            ids[i] = start(live, (void *)(i + 100 * generation));
        for (long i = 0; i < threads; i++)
            join(ids[i]);
    }
    atomic_store(&done, true);
    join(inspector);
    uint64_t random = 1;
    for (int i = 0; i < SLOTS; i++)
        block_end(slots[i].block, &random);
    check(libmalloc_check(complain, NULL) == 0, "broken in the end");
    return 0;
}
