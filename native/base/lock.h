/* lock.h: a pthread mutex, and its manners around fork.
 *
 * fork copies one thread and every byte of memory, as of one instant. A lock that
 * another thread held at that instant stays locked in the child for ever, and what
 * it guarded may be half done. Two remedies suggest themselves, and both hang:
 *
 *   - Take every lock before the fork, as a pthread_atfork handler could. One
 *     thread may hold malloc's lock while it waits for stdio's, which another
 *     holds while it waits for malloc; and a fork from a signal handler may have
 *     interrupted the very malloc whose lock it wants.
 *   - Take what can be had, and hold it across the fork. libc takes stdio's locks
 *     inside fork, after our handler: a thread in fflush(NULL) owns those and waits
 *     for a FILE, its owner is in getline and waits for malloc, which we hold.
 *
 * So nothing is held and nothing waits without bound:
 *
 *   1. Before the fork, a gate asks the other threads to stand back for a moment
 *      (STAND_BACK at most, over all forks that overlap), and each lock is taken and
 *      dropped once, waiting no longer than that: after it, nobody is inside unless
 *      his patience ended.
 *   2. The child looks at the locks. All free: nobody was inside, and because
 *      fork's copy is of one instant, the heap is whole (but for the program break,
 *      after which heap_goes_on asks). One taken: the heap is frozen and a fresh one
 *      takes over (heap_freeze in the contract).
 *   3. Where a signal handler forked and returns, the call that it interrupted goes
 *      on in the child. If it was inside, it ends its work in the frozen heap, where
 *      it is alone now. If it was waiting for a lock, of somebody who is no more, it
 *      gets that lock, finds it `lost` and looks for its lock again.
 *   4. Other handlers may allocate in the child before ours has run, so whoever
 *      meets the closed gate in a new process does step 2 on the spot.
 *
 * Rule: one lock at a time, or in the order that the variant states at its head;
 * all but the first by lock_take_inner.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

struct lock {
    pthread_mutex_t mutex;
    bool lost; /* what it guarded is frozen */
};
#define LOCK_FREE                                                                                  \
    { .mutex = PTHREAD_MUTEX_INITIALIZER }

enum { STAND_BACK = 10000000, STAND_BACK_STEP = 50000 }; /* nanoseconds: 10 ms, 50 µs */

/* `forks` counts the forks in progress; `parent` and `thread` are the last one's.
 * Nobody stands back after `end`: they may overlap without end, and one may wait for
 * stdio as long as somebody types nothing. */
static struct {
    atomic_int forks;
    _Atomic(int64_t) end; /* nanoseconds */
    pid_t parent;
    pthread_t thread;
} gate;

static int64_t lock_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000l + now.tv_nsec;
}

static bool lock_is_free(struct lock *l) {
    if (pthread_mutex_trylock(&l->mutex))
        return false;
    pthread_mutex_unlock(&l->mutex);
    return true;
}

/* Unlocks what threads held that are no more. */
static void locks_open(bool lost) {
    for (unsigned i = 0; heap_lock(i); i++) {
        heap_lock(i)->lost = lost;
        if (!lock_is_free(heap_lock(i)))
            pthread_mutex_unlock(&heap_lock(i)->mutex);
    }
}

/* In the child, once: by our handler or by the first call that needs a lock. Without
 * memory for a fresh heap the old one has to do, half done as it may be. */
static void fork_child(void) {
    if (!atomic_load(&gate.forks))
        return;
    bool whole = true;
    for (unsigned i = 0; whole && heap_lock(i); i++)
        whole = lock_is_free(heap_lock(i));
    if (!whole || !heap_goes_on()) {
        locks_open(true);
        if (!heap_freeze())
            locks_open(false);
    }
    atomic_store(&gate.forks, 0);
}

/* Not below 0, which it is when a signal handler forked during this fork and we are
 * that child. */
static void fork_parent(void) {
    int forks = atomic_load(&gate.forks);
    while (forks > 0 && !atomic_compare_exchange_weak(&gate.forks, &forks, forks - 1)) {
    }
}

static void fork_prepare(void) {
    int64_t end = lock_clock() + STAND_BACK;
    gate.parent = getpid();
    gate.thread = pthread_self();
    if (atomic_fetch_add(&gate.forks, 1) == 0)
        atomic_store(&gate.end, end);
    for (unsigned i = 0; heap_lock(i); i++)
        while (!lock_is_free(heap_lock(i)) && lock_clock() < end)
            os_nap(STAND_BACK_STEP);
}

/* A further lock, while one is held: never at the gate, where the fork would wait for
 * the first. False when it is lost, and the first one with it. */
static inline bool lock_take_inner(struct lock *l) {
    pthread_mutex_lock(&l->mutex);
    if (likely(!l->lost))
        return true;
    pthread_mutex_unlock(&l->mutex);
    return false;
}

/* The gate is closed: are we the child, the forking thread, or one who can wait? */
static COLD bool lock_take_at_gate(struct lock *l) {
    atomic_thread_fence(memory_order_acquire); /* with fork_prepare, which sets `parent` before */
    if (getpid() != gate.parent) {
        fork_child();
        return false;
    }
    int saved = errno;
    while (atomic_load(&gate.forks) && lock_clock() < atomic_load(&gate.end) &&
           !pthread_equal(gate.thread, pthread_self()))
        os_nap(STAND_BACK_STEP);
    errno = saved;
    return lock_take_inner(l);
}

/* Takes the lock; false when the caller must look for its lock again, because we
 * woke in a forked child and the heap may be another one now. The gate costs a
 * load and a branch, as does the look at `lost`. */
static inline bool lock_take(struct lock *l) {
    if (unlikely(atomic_load_explicit(&gate.forks, memory_order_relaxed)))
        return lock_take_at_gate(l);
    return lock_take_inner(l);
}

static inline void lock_drop(struct lock *l) { pthread_mutex_unlock(&l->mutex); }

/* Registering may allocate; that is an ordinary early call. */
__attribute__((constructor)) static void fork_watch(void) {
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}
