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
 *      (STAND_BACK at most), and each lock is taken and dropped once, waiting no
 *      longer than that: after it, nobody is inside unless his patience ended.
 *   2. The child looks at the locks. All free: nobody was inside, and because
 *      fork's copy is of one instant, the heap is whole. One taken: the heap is
 *      frozen and a fresh one takes over (heap_freeze in the contract).
 *   3. Other handlers may allocate in the child before ours has run, so whoever
 *      meets the closed gate in a new process does step 2 on the spot.
 *
 * Rule: one lock at a time, or in the order that the variant states at its head.
 */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "heap.h"

struct lock {
    pthread_mutex_t mutex;
};
#define LOCK_FREE                                                                                  \
    { PTHREAD_MUTEX_INITIALIZER }

enum { STAND_BACK = 10000000, STAND_BACK_STEP = 50000 }; /* nanoseconds: 10 ms, 50 µs */

/* `forks` counts the forks in progress; `parent` and `thread` are the last one's. */
static struct {
    atomic_int forks;
    pid_t parent;
    pthread_t thread;
} gate;

static bool lock_is_free(struct lock *l) {
    if (pthread_mutex_trylock(&l->mutex))
        return false;
    pthread_mutex_unlock(&l->mutex);
    return true;
}

/* In the child, once: by our handler or by the first call that needs a lock. */
static void fork_child(void) {
    if (!atomic_exchange(&gate.forks, 0))
        return;
    bool whole = true;
    for (unsigned i = 0; whole && heap_lock(i); i++)
        whole = lock_is_free(heap_lock(i));
    if (!whole)
        heap_freeze();
}

static void fork_parent(void) { atomic_fetch_sub(&gate.forks, 1); }

static void fork_prepare(void) {
    gate.parent = getpid();
    gate.thread = pthread_self();
    atomic_fetch_add(&gate.forks, 1);
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += STAND_BACK;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    for (unsigned i = 0; heap_lock(i); i++)
        if (pthread_mutex_timedlock(&heap_lock(i)->mutex, &end) == 0)
            pthread_mutex_unlock(&heap_lock(i)->mutex);
}

/* The gate is closed: are we the child, the forking thread, or one who can wait? */
static COLD bool lock_take_at_gate(struct lock *l) {
    if (getpid() != gate.parent) {
        fork_child();
        return false;
    }
    int saved = errno;
    for (long waited = 0; waited < STAND_BACK && atomic_load(&gate.forks) &&
                          !pthread_equal(gate.thread, pthread_self());
         waited += STAND_BACK_STEP)
        nanosleep(&(struct timespec){.tv_nsec = STAND_BACK_STEP}, NULL);
    errno = saved;
    pthread_mutex_lock(&l->mutex);
    return true;
}

/* Takes the lock; false when the caller must look for its lock again, because we
 * woke in a forked child and the heap may be another one now. The gate costs a
 * load and a branch. */
static inline bool lock_take(struct lock *l) {
    if (unlikely(atomic_load_explicit(&gate.forks, memory_order_relaxed)))
        return lock_take_at_gate(l);
    pthread_mutex_lock(&l->mutex);
    return true;
}

static inline void lock_drop(struct lock *l) { pthread_mutex_unlock(&l->mutex); }

/* Registering may allocate; that is an ordinary early call. */
__attribute__((constructor)) static void fork_watch(void) {
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}
