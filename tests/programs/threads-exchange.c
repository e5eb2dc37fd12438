/* A block may be freed, or resized, by another thread than the one that got it.
 * Producers hand blocks to consumers, through a queue under a mutex or through a
 * lock-free one; no block is lost, damaged or handed out twice at the same time.
 *
 *     threads-exchange [mutex|ring] [producers] [consumers] [blocks of a producer] [largest size]
 */
#include "program.h"

/* In the block itself, so that the consumer can check all of it. */
struct parcel {
    size_t size;
    uint64_t seed;
    struct parcel *origin; /* where the pattern was written */
    unsigned char data[];
};

enum { SLOTS = 256 };

/* ── a queue under a mutex ─────────────────────────────────────────────────── */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct parcel *slots[SLOTS];
    size_t in, out;
} queue = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void queue_put(struct parcel *p) {
    pthread_mutex_lock(&queue.mutex);
    while (queue.in - queue.out == SLOTS)
        pthread_cond_wait(&queue.changed, &queue.mutex);
    queue.slots[queue.in++ % SLOTS] = p;
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.mutex);
}

static struct parcel *queue_take(void) {
    pthread_mutex_lock(&queue.mutex);
    while (queue.in == queue.out)
        pthread_cond_wait(&queue.changed, &queue.mutex);
    struct parcel *p = queue.slots[queue.out++ % SLOTS];
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.mutex);
    return p;
}

/* ── a bounded lock-free queue (Vyukov's): each slot counts its turns ──────── */

static struct {
    struct {
        atomic_size_t turn;
        struct parcel *parcel;
    } slots[SLOTS];
    atomic_size_t in, out;
} ring;

static void ring_prepare(void) {
    for (size_t i = 0; i < SLOTS; i++)
        atomic_init(&ring.slots[i].turn, i);
}

static void ring_put(struct parcel *p) {
    size_t at = atomic_fetch_add(&ring.in, 1);
    while (atomic_load_explicit(&ring.slots[at % SLOTS].turn, memory_order_acquire) != at)
        sched_yield();
    ring.slots[at % SLOTS].parcel = p;
    atomic_store_explicit(&ring.slots[at % SLOTS].turn, at + 1, memory_order_release);
}

static struct parcel *ring_take(void) {
    size_t at = atomic_fetch_add(&ring.out, 1);
    while (atomic_load_explicit(&ring.slots[at % SLOTS].turn, memory_order_acquire) != at + 1)
        sched_yield();
    struct parcel *p = ring.slots[at % SLOTS].parcel;
    atomic_store_explicit(&ring.slots[at % SLOTS].turn, at + SLOTS, memory_order_release);
    return p;
}

/* ── both ends ─────────────────────────────────────────────────────────────── */

static void (*put)(struct parcel *) = queue_put;
static struct parcel *(*take)(void) = queue_take;
static long blocks, largest;
static atomic_long arrived;

static void *produce(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    for (long i = 0; i < blocks; i++) {
        size_t size = chance_size(&random, (size_t)largest);
        struct parcel *p = must_malloc(sizeof *p + size);
        *p = (struct parcel){.size = size, .seed = chance(&random), .origin = p};
        fill(p->data, size, p->seed);
        put(p);
    }
    return NULL;
}

/* Now and then a consumer resizes the block first, or frees another thread's block
 * while it holds one of its own. */
static void *consume(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1000;
    struct parcel *p;
    while ((p = take())) {
        check(p->origin == p, "the block at %p was overwritten on its way", (void *)p);
        check_filled(p->data, p->size, p->seed);
        if (chance_below(&random, 8) == 0) {
            size_t size = p->size / 2;
            struct parcel *q = realloc(p, sizeof *p + size);
            check(q, "realloc to %zu bytes failed", size);
            check_moved(q->data, q->origin->data, size, q->seed);
            p = q;
        }
        free(p);
        atomic_fetch_add(&arrived, 1);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "ring") == 0) {
        ring_prepare();
        put = ring_put;
        take = ring_take;
    }
    long producers = argument(argc, argv, 2, 4), consumers = argument(argc, argv, 3, 4);
    blocks = argument(argc, argv, 4, 20000);
    largest = argument(argc, argv, 5, 4000);
    check(producers <= 32 && consumers <= 32, "32 producers and consumers at most");
    pthread_t from[32], to[32];
    for (long i = 0; i < consumers; i++)
        to[i] = start(consume, (void *)i);
    for (long i = 0; i < producers; i++)
        from[i] = start(produce, (void *)i);
    for (long i = 0; i < producers; i++)
        join(from[i]);
    for (long i = 0; i < consumers; i++)
        put(NULL); /* one for each: no more will come */
    for (long i = 0; i < consumers; i++)
        join(to[i]);
    check(arrived == producers * blocks, "%ld of %ld blocks arrived", arrived, producers * blocks);
    return 0;
}
