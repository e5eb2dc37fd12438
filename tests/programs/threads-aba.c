/* Threads allocate and free blocks of three small sizes, a few at a time, as fast as they can. A free
 * list without a lock that compares only its head takes a block that has left the list and come
 * back (ABA), and then hands out the block behind it, which is live.
 *
 * That happens between two instructions of malloc. Where the processor can be stepped (stepped.h),
 * a thread is stopped at each in turn, while another one allocates two blocks and frees the first.
 *
 *     threads-aba [threads] [calls of each]
 */
#include "program.h"
#include "stepped.h"

enum { HELD = 3, SIZES = 3 };
static const size_t sizes[SIZES] = {48, 64, 96};
static long calls;

struct block {
    _Atomic uint64_t link, owner, rest[4];
};

static struct block *take(uint64_t tag, size_t size) {
    struct block *p = must_malloc(size);
    atomic_store_explicit(&p->owner, tag, memory_order_relaxed);
    for (int i = 0; i < 4; i++)
        atomic_store_explicit(&p->rest[i], tag ^ (uint64_t)i, memory_order_relaxed);
    return p;
}

static void drop(struct block *p, uint64_t tag, size_t size) {
    check(atomic_load_explicit(&p->owner, memory_order_relaxed) == tag,
          "a block of %zu bytes at %p was handed out twice", size, (void *)p);
    for (int i = 0; i < 4; i++)
        check(atomic_load_explicit(&p->rest[i], memory_order_relaxed) == (tag ^ (uint64_t)i),
              "a block of %zu bytes at %p was changed", size, (void *)p);
    free(p);
}

static void *exchange(void *arg) {
    uint64_t me = (uint64_t)(uintptr_t)arg + 1, random = me, tag = me << 48;
    struct block *held[SIZES][HELD] = {{NULL}};
    uint64_t tags[SIZES][HELD];
    for (long i = 0; i < calls; i++) {
        uint64_t dice = chance(&random);
        size_t s = dice % SIZES, k = (dice >> 8) % HELD;
        if (held[s][k]) {
            drop(held[s][k], tags[s][k], sizes[s]);
            held[s][k] = NULL;
        } else {
            held[s][k] = take(tags[s][k] = ++tag, sizes[s]);
        }
    }
    for (int s = 0; s < SIZES; s++)
        for (int k = 0; k < HELD; k++)
            if (held[s][k])
                drop(held[s][k], tags[s][k], sizes[s]);
    return NULL;
}

/* ── the other thread acts at each instruction in turn, which chance need not bring about ──── */

enum { FIRST = 8, PLACES = 400, WAITS = 12 };
static size_t size;
static struct block *mine, *others;

static void take_mine(void) { mine = malloc(size); }

static void take_two(void) {
    struct block *first = take(1, size);
    others = take(2, size);
    drop(first, 1, size);
}

/* Stops at one instruction of malloc; false if there are no more, or if the other thread has
 * waited for us at several, which means that there is a lock, and no such list. */
static bool stop_at(long place) {
    struct block *blocks[FIRST];
    for (int i = 0; i < FIRST; i++)
        blocks[i] = take(3, size);
    for (int i = 0; i < FIRST; i++)
        drop(blocks[i], 3, size);
    bool stopped = step(place, take_mine, take_two);
    check(mine, "malloc(%zu) failed", size);
    atomic_store(&mine->owner, 4);
    for (int i = 0; i < FIRST; i++)
        blocks[i] = take(5 + (uint64_t)i, size);
    check(atomic_load(&mine->owner) == 4, "a block of %zu bytes at %p was handed out twice", size,
          (void *)mine);
    for (int i = 0; i < FIRST; i++)
        drop(blocks[i], 5 + (uint64_t)i, size);
    if (stopped)
        drop(others, 2, size);
    free(mine);
    return stopped && step_waits < WAITS;
}

static void stop_at_each(void) {
    start_other();
    for (int s = 0; s < SIZES; s++) {
        size = sizes[s];
        step_waits = 0;
        for (long place = 1; place < PLACES && stop_at(place); place++) {
        }
    }
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 6);
    calls = argument(argc, argv, 2, 400000);
    stop_at_each();
    run_threads(threads, exchange);
    _exit(0); /* the other one waits for ever */
}
