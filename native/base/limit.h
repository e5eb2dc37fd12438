/* limit.h: LIBMALLOC_OPTIONS=limit=BYTES: how much memory a variant may hold.
 *
 * A variant counts memory when it gets it from the system (sharded: when it begins to use
 * it) and when it gives it back, so a limit costs the calls in between nothing. Memory for
 * blocks counts, including headers between them and blocks kept for reuse. Records elsewhere
 * (heap_overhead) do not count, because to refuse them would not help.
 */
#pragma once

#include <stdatomic.h>

#include "options.h"
#include "os.h"

static _Atomic(size_t) limit_taken; /* bytes */

/* Counts `size` bytes that the caller is about to get; false with errno ENOMEM if that is
 * beyond the limit. One compare-and-swap. */
UNUSED static bool limit_charge(size_t size) {
    if (unlikely(!options.read))
        options_read();
    size_t taken = atomic_load_explicit(&limit_taken, memory_order_relaxed);
    do
        if (size > options.limit || taken > options.limit - size) {
            errno = ENOMEM;
            return false;
        }
    while (!atomic_compare_exchange_weak_explicit(&limit_taken, &taken, taken + size,
                                                  memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* The bytes were given back, or could not be had after all. Keeps errno. */
UNUSED static void limit_refund(size_t size) {
    atomic_fetch_sub_explicit(&limit_taken, size, memory_order_relaxed);
}

/* ── the calls of os.h that take and give memory, within the limit ─────────── */

/* Maps memory that will replace `replaced` bytes, which are counted already. */
UNUSED static void *limit_map(size_t size, size_t alignment, size_t replaced) {
    if (!limit_charge(size - replaced))
        return NULL;
    void *p = os_map_aligned(size, alignment);
    if (!p)
        limit_refund(size - replaced);
    return p;
}

UNUSED static bool limit_unmap(void *p, size_t size) {
    bool done = os_unmap(p, size);
    if (done)
        limit_refund(size);
    return done;
}

/* Grows a mapping in place. */
UNUSED static bool limit_resize(void *p, size_t size, size_t wanted) {
    int saved = errno;
    if (!limit_charge(wanted - size)) {
        errno = saved;
        return false;
    }
    bool done = os_resize(p, size, wanted) == 0;
    if (!done)
        limit_refund(wanted - size);
    return done;
}

UNUSED static bool limit_commit(void *p, size_t size) {
    if (!limit_charge(size))
        return false;
    bool done = os_commit(p, size);
    if (!done)
        limit_refund(size);
    return done;
}

UNUSED static char *limit_break(intptr_t n) {
    if (n > 0 && !limit_charge((size_t)n))
        return NULL;
    char *old = os_break(n);
    if (n > 0 && !old)
        limit_refund((size_t)n);
    if (n < 0 && old)
        limit_refund((size_t)-n);
    return old;
}
