/* ring.h: a queue from one thread to one other. Neither waits for a lock; a thread that finds it
 * full, or empty, yields.
 */
#pragma once

#include "program.h"

enum { RING = 128 };

struct ring {
    _Alignas(64) atomic_long in;
    _Alignas(64) atomic_long out;
    void *slots[RING];
};

static void put(struct ring *r, void *p) {
    long in = atomic_load_explicit(&r->in, memory_order_relaxed);
    while (in - atomic_load_explicit(&r->out, memory_order_acquire) == RING)
        sched_yield();
    r->slots[in % RING] = p;
    atomic_store_explicit(&r->in, in + 1, memory_order_release);
}

static void *take(struct ring *r) {
    long out = atomic_load_explicit(&r->out, memory_order_relaxed);
    while (out == atomic_load_explicit(&r->in, memory_order_acquire))
        sched_yield();
    void *p = r->slots[out % RING];
    atomic_store_explicit(&r->out, out + 1, memory_order_release);
    return p;
}
