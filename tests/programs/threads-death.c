/* A thread ends while others free its blocks, at every moment of its end and while the next
 * thread adopts its heap. No block is lost, damaged or handed out twice, and in the end the
 * heap is sound.
 *
 *     threads-death [lives] [blocks of a life]
 */
#include "ring.h"
#include "libmalloc.h"

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));

enum { FREERS = 2, LARGEST = 1500 };

struct parcel {
    size_t size;
    uint64_t seed;
    unsigned char data[];
};

/* One to each freer. */
static struct ring rings[FREERS];
static long blocks;
static atomic_long made, freed;

/* One thread: when it ends, the freers have not yet freed its last blocks. */
static void *live(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    for (long i = 0; i < blocks; i++) {
        size_t size = chance_size(&random, LARGEST);
        struct parcel *p = must_malloc(sizeof *p + size);
        *p = (struct parcel){.size = size, .seed = chance(&random)};
        fill(p->data, size, p->seed);
        put(&rings[i % FREERS], p);
    }
    atomic_fetch_add(&made, blocks);
    return NULL;
}

/* Allocates blocks of its own, too, so that its own pages come and go meanwhile. */
static void *free_for_ever(void *arg) {
    struct ring *r = arg;
    uint64_t random = (uint64_t)(r - rings) + 77;
    void *mine = NULL;
    for (struct parcel *p; (p = take(r)); atomic_fetch_add(&freed, 1)) {
        check_filled(p->data, p->size, p->seed);
        free(p);
        if (chance_below(&random, 4) == 0) {
            free(mine);
            mine = must_malloc(chance_size(&random, LARGEST));
        }
    }
    free(mine);
    return NULL;
}

static void report(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

int main(int argc, char **argv) {
    long lives = argument(argc, argv, 1, 1000);
    blocks = argument(argc, argv, 2, 150);
    pthread_t freers[FREERS], owner;
    for (int i = 0; i < FREERS; i++)
        freers[i] = start(free_for_ever, &rings[i]);
    for (long i = 0; i < lives; i++) {
        owner = start(live, (void *)i);
        join(owner);
        check(i % 64 || !libmalloc_check || libmalloc_check(report, NULL) == 0, "broken");
    }
    for (int i = 0; i < FREERS; i++)
        put(&rings[i], NULL);
    for (int i = 0; i < FREERS; i++)
        join(freers[i]);
    check(made == freed, "%ld blocks made, %ld freed", made, freed);
    check(!libmalloc_check || libmalloc_check(report, NULL) == 0, "broken at the end");
    return 0;
}
