/* lock.h: a pthread mutex that survives fork.
 *
 * fork copies one thread and every byte of memory, as of one instant. A lock that
 * another thread held at that instant stays locked in the child for ever, and what
 * it guarded may be half changed. There are two obvious remedies, and both can hang:
 *
 *   - Take every lock before the fork, as a pthread_atfork handler could. One
 *     thread may hold malloc's lock while it waits for stdio's, which another
 *     holds while it waits for malloc; and a fork from a signal handler may have
 *     interrupted the very malloc whose lock it wants.
 *   - Take those locks that are free, and hold them across the fork. libc takes stdio's
 *     locks inside fork, after our handler: a thread in fflush(NULL) holds those and waits
 *     for a FILE, whose holder is in getline and waits for malloc, whose lock we hold.
 *
 * So no lock is held across the fork, and every wait is bounded:
 *
 *   1. Before the fork, a gate closes: other threads that want a lock wait at it, STAND_BACK
 *      at most, over all forks that overlap. Then the forking thread acquires and releases
 *      each lock once; it also waits STAND_BACK at most. Afterwards no other thread holds a
 *      lock, unless one of these waits timed out.
 *   2. The child tries the locks. If all are free, no thread was inside, and because
 *      fork's copy is of one instant, the heap is whole (except for the program break,
 *      which heap_goes_on checks). If one is taken, the heap is frozen and replaced by a
 *      fresh one (heap_freeze in the contract).
 *   3. If a signal handler forked and returns, the call that it interrupted continues in
 *      the child. If that call held a lock, it finishes its work in the frozen heap, which
 *      no other thread uses now. If it was waiting for a lock, whose holder does not exist
 *      in the child, it gets that lock, sees that it is `lost`, and takes the lock of the
 *      fresh heap instead.
 *   4. Other atfork handlers may allocate in the child before ours has run, so a call that
 *      finds the gate closed in a new process does step 2 itself.
 *
 * Rule: one lock at a time, or in the order that the variant states at its head;
 * all but the first by lock_acquire_inner.
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
    struct holder holder;
};
#define LOCK_FREE                                                                                  \
    { .mutex = PTHREAD_MUTEX_INITIALIZER }

enum { STAND_BACK = 10000000, STAND_BACK_STEP = 50000 }; /* nanoseconds: 10 ms, 50 µs */

/* `forks` counts the forks in progress; `parent` and `thread` are the last one's.
 * No thread waits at the gate after `end`, because forks may overlap without end, and one
 * may wait for a stdio lock as long as a read from the terminal takes. */
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

static bool lock_try(struct lock *l) {
    if (pthread_mutex_trylock(&l->mutex))
        return false;
    holder_set(&l->holder, pthread_self());
    return true;
}

static inline void lock_release(struct lock *l) {
    holder_set(&l->holder, 0);
    pthread_mutex_unlock(&l->mutex);
}

static bool lock_is_free(struct lock *l) {
    if (!lock_try(l))
        return false;
    lock_release(l);
    return true;
}

/* In the child: unlocks what threads of the parent held. */
static void locks_open(bool lost) {
    for (unsigned i = 0; heap_lock(i); i++) {
        heap_lock(i)->lost = lost;
        if (!lock_is_free(heap_lock(i)))
            lock_release(heap_lock(i));
    }
}

/* Replaces the heap by a fresh one, in a thread that is about to abort and may hold a lock. Other
 * threads are still running, so this takes each lock first. If it cannot get one within STAND_BACK,
 * then this thread holds it already, or its holder is not being scheduled and will release it
 * later. Threads that wait for a lock then see that it is lost, and take that of the fresh heap. */
UNUSED static void locks_freeze(void) {
    int64_t end = lock_clock() + STAND_BACK;
    for (unsigned i = 0; heap_lock(i); i++)
        while (!lock_try(heap_lock(i)) && lock_clock() < end)
            os_nap(STAND_BACK_STEP);
    for (unsigned i = 0; heap_lock(i); i++) {
        heap_lock(i)->lost = true;
        if (mutex_is_ours(&heap_lock(i)->mutex, &heap_lock(i)->holder))
            lock_release(heap_lock(i));
    }
    if (!heap_freeze())
        for (unsigned i = 0; heap_lock(i); i++)
            heap_lock(i)->lost = false;
}

/* In the child, once: from our handler or from the first call that needs a lock. If there
 * is no memory for a fresh heap, the old one stays in use, though it may be half changed. */
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

/* Does not count below 0: if a signal handler forked during this fork, then in that child the
 * count is 0 already. */
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

/* Takes a second lock while one is held. Does not wait at the gate, because the fork would
 * wait for the first lock meanwhile. False if a fork lost this lock, and so the first one. */
static inline bool lock_acquire_inner(struct lock *l) {
    pthread_mutex_lock(&l->mutex);
    holder_set(&l->holder, pthread_self());
    if (likely(!l->lost))
        return true;
    lock_release(l);
    return false;
}

/* The gate is closed. In a child, repairs the heap. Otherwise waits, except in the thread that
 * forks. */
static COLD bool lock_acquire_at_gate(struct lock *l) {
    atomic_thread_fence(memory_order_acquire); /* fork_prepare sets `parent` before `forks` */
    if (getpid() != gate.parent && pthread_equal(gate.thread, pthread_self())) {
        fork_child(); /* not in another thread's vfork child, which shares the parent's memory */
        return false;
    }
    int saved = errno;
    while (atomic_load(&gate.forks) && lock_clock() < atomic_load(&gate.end) &&
           !pthread_equal(gate.thread, pthread_self()))
        os_nap(STAND_BACK_STEP);
    errno = saved;
    return lock_acquire_inner(l);
}

/* Takes the lock. False if this is a forked child now: the heap may have been replaced, so the
 * caller must look up its lock again. The gate costs a load and a branch, and so does `lost`. */
static inline bool lock_acquire(struct lock *l) {
    if (unlikely(atomic_load_explicit(&gate.forks, memory_order_relaxed)))
        return lock_acquire_at_gate(l);
    return lock_acquire_inner(l);
}

/* pthread_atfork may call malloc, which works already. */
__attribute__((constructor)) static void fork_watch(void) {
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}
