/* Threads allocate and free blocks of three small sizes, a few at a time, as fast as they can. A free
 * list without a lock that compares only its head takes a block that has left the list and come
 * back (ABA), and then hands out the block behind it, which is live.
 *
 * That happens between two instructions of malloc. Where the processor can be stepped (x86-64), a
 * thread is stopped at each in turn, while another one allocates two blocks and frees the first.
 *
 *     threads-aba [threads] [calls of each]
 */
#include "program.h"

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

#ifdef __x86_64__
#include <semaphore.h>
#include <ucontext.h>

enum { TRAP_FLAG = 0x100, FIRST = 8, PLACES = 400, WAITS = 12, PATIENCE = 200000 /* ns */ };
#define step_on()  __asm__ volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP_FLAG) : "cc", "memory")
#define step_off() __asm__ volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~TRAP_FLAG) : "cc", "memory")

static sem_t asked;
static atomic_bool answered;
static size_t size;
static long place, instruction, waits;
static struct block *others;

static void *take_two(void *arg) {
    for (;;) {
        while (sem_wait(&asked) != 0) {
        }
        struct block *first = take(1, size);
        others = take(2, size);
        drop(first, 1, size);
        atomic_store(&answered, true);
    }
    return arg;
}

static long since(const struct timespec *begin) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (t.tv_sec - begin->tv_sec) * 1000000000 + t.tv_nsec - begin->tv_nsec;
}

static void stepped(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    if (++instruction < place)
        return;
    int saved = errno;
    struct timespec begin;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    sem_post(&asked);
    while (!atomic_load(&answered) && since(&begin) < PATIENCE)
        sched_yield();
    waits += !atomic_load(&answered);
    errno = saved;
}

/* Stops at one instruction of malloc; false when there are no more, or when the other one has
 * waited for us at several: there is a lock, and the list behind it needs none of this. */
static bool stop_at(long which) {
    struct block *blocks[FIRST];
    for (int i = 0; i < FIRST; i++)
        blocks[i] = take(3, size);
    for (int i = 0; i < FIRST; i++)
        drop(blocks[i], 3, size);
    place = which;
    instruction = 0;
    atomic_store(&answered, false);
    step_on();
    struct block *mine = malloc(size);
    step_off();
    bool stopped = instruction >= place;
    check(mine, "malloc(%zu) failed", size);
    atomic_store(&mine->owner, 4);
    while (stopped && !atomic_load(&answered))
        sched_yield();
    for (int i = 0; i < FIRST; i++)
        blocks[i] = take(5 + (uint64_t)i, size);
    check(atomic_load(&mine->owner) == 4, "a block of %zu bytes at %p was handed out twice", size,
          (void *)mine);
    for (int i = 0; i < FIRST; i++)
        drop(blocks[i], 5 + (uint64_t)i, size);
    if (stopped)
        drop(others, 2, size);
    free(mine);
    return stopped && waits < WAITS;
}

static void stop_at_each(void) {
    struct sigaction on_trap = {.sa_sigaction = stepped, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &on_trap, NULL);
    sem_init(&asked, 0, 0);
    start(take_two, NULL);
    for (int s = 0; s < SIZES; s++) {
        size = sizes[s];
        waits = 0;
        for (long which = 1; which < PLACES && stop_at(which); which++) {
        }
    }
}
#else
static void stop_at_each(void) {}
#endif

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 1, 6);
    calls = argument(argc, argv, 2, 400000);
    stop_at_each();
    run_threads(threads, exchange);
    _exit(0); /* the other one waits for ever */
}
