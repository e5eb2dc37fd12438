/* callers.h: the number of the stack that makes a call, and the nodes behind it, each of which is
 * written down once.
 *
 *   Locking: the lock of stream.h, with all signals blocked, for a stack that was not seen before.
 *   A signal handler finds another stream, and so another `last` than what it has interrupted. If it
 *   forks, and the child returns to what was interrupted, that goes on with memory of its own.
 */
#pragma once

#include "stream.h"

/* From `f` inwards; the innermost node's number, or 0 when there is no room for a node. */
static COLD uint32_t callers_add(struct last *l, struct last_frame *f, uint32_t parent) {
    struct calm calm = calm_begin();
    pthread_mutex_lock(&trace.lock);
    struct last_frame *inner = last_innermost(l);
    do {
        f->node = parent = callers_node(parent, f);
    } while (parent && f-- > inner);
    pthread_mutex_unlock(&trace.lock);
    calm_end(calm);
    return parent;
}

static struct last *callers_last(struct stream *s) {
    struct calm calm = calm_begin();
    s->last = memory_map(sizeof *s->last);
    calm_end(calm);
    return s->last;
}

/* The number of the stack of our caller; 0 where it cannot be had. */
static __attribute__((noinline)) uint32_t callers_number(struct stream *s) {
    struct last *l = likely(s->last) ? s->last : callers_last(s);
    if (unlikely(!l))
        return 0;
    unwind_again(l, unwind_here());
    if (unlikely(!l->depth))
        return 0;
    struct last_frame *inner = last_innermost(l), *f = inner + l->fresh;
    uint32_t parent = f < l->frames + LAST_ROOM ? f->node : 0;
    while (f-- > inner) {
        uint32_t number = tree_find(&callers.tree, parent, tree_key(f->pc, f->flags));
        if (unlikely(!number)) {
            number = callers_add(l, f, parent);
            l->depth = number ? l->depth : 0;
            l->fresh = 0;
            return number;
        }
        f->node = parent = number;
    }
    l->fresh = 0;
    return inner->node;
}
