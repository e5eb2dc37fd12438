/* last.h: the stack of a thread, when we know the last one.
 *
 * Two calls of malloc in a row have most of their callers in common. So we keep the frames of the
 * last stack, with the places on the stack that their numbers were read from. Walking up from the
 * new call, we soon reach a frame of the last stack with the same address, stack pointer and frame
 * pointer. From there on both stacks are the same if what lies in those places still is:
 *
 *     last.frames[]                              the outermost frame is always at the end
 *     ┌─────────────┬──────────┬──────────┬──────────┬──────────┬────────┐
 *     │ (room)      │ leaf     │ helper   │ work     │ main     │ _start │
 *     └─────────────┴──────────┴──────────┴──────────┴──────────┴────────┘
 *                    replaced by the frames ^          compared, 1 to 2 ns each,
 *                    of the new call        joined     and their nodes are known
 *
 * A stack of more than LAST_MOST frames is cut where its address has most zeroes at the end, so that
 * calls from different depths of one recursion are cut at the same frame, and share their nodes.
 */
#pragma once

#include "unwind.h"

enum { LAST_MOST = 256, LAST_ROOM = 2 * LAST_MOST };

enum last_flag { LAST_JIT = 1, LAST_SIGNAL = 2, LAST_CUT = 4 };

/* A cache line each. */
struct last_frame {
    uintptr_t pc, sp, fp;
    struct unwind_slots slots;
    uint32_t node;  /* the user's: a number for this frame and all its callers; 0: not known yet */
    uint32_t flags; /* enum last_flag */
};
_Static_assert(sizeof(struct last_frame) <= 64, "a cache line each");

/* Of one thread. All zeroes is a good beginning. */
struct last {
    uint32_t depth; /* frames[LAST_ROOM - depth] is the innermost */
    uint32_t fresh; /* so many of the innermost have no node yet */
    struct last_frame frames[LAST_ROOM], walked[LAST_MOST];
};

static inline struct last_frame *last_innermost(struct last *l) {
    return &l->frames[LAST_ROOM - l->depth];
}

/* Compares frames from `at + 1` on with what lies on the stack; the first that differs, or the end. */
static inline struct last_frame *last_compare(struct last *l, struct last_frame *at,
                                              const struct stack_bounds *s) {
    struct last_frame *end = l->frames + LAST_ROOM;
    uintptr_t fp = at->fp, room = s->high - s->low;
    while (++at < end) {
        const struct unwind_slots *slots = &at->slots;
        if (slots->pc - s->low >= room || stack_word(slots->pc) != at->pc)
            break;
        if (slots->fp && (slots->fp - s->low >= room || stack_word(slots->fp) != at->fp))
            break;
        if (!slots->fp && at->fp != fp)
            break;
        if (slots->sp && (slots->sp - s->low >= room || stack_word(slots->sp) != at->sp))
            break;
        fp = at->fp;
    }
    return at;
}

static inline bool last_is(const struct last_frame *f, const struct unwind_place *p) {
    return f->sp == p->sp && f->pc == p->pc && f->fp == p->fp &&
           (f->flags & LAST_SIGNAL) == (p->exact ? LAST_SIGNAL : 0);
}

/* How many of the walked frames to keep, where there were too many. */
static uint32_t last_cut(struct last *l) {
    uintptr_t inner = l->walked[LAST_MOST / 2].sp, outer = l->walked[LAST_MOST - 1].sp;
    uint32_t n = LAST_MOST / 2;
    if (outer > inner) {
        uintptr_t round = outer & ~0ul << (63 - __builtin_clzl(outer ^ inner));
        while (n < LAST_MOST - 1 && l->walked[n].sp < round)
            n++;
    }
    l->walked[n].flags |= LAST_CUT;
    return n + 1;
}

/* The walked frames take the place of all that is further in than `joined`. */
static bool last_take(struct last *l, struct last_frame *joined, uint32_t n) {
    if (joined - l->frames < n)
        return false;
    memcpy(joined - n, l->walked, n * sizeof *joined);
    l->depth = (uint32_t)(l->frames + LAST_ROOM - joined) + n;
    l->fresh = n;
    return true;
}

/* Walks until a frame of the last stack whose callers are the same, or the end of the stack;
 * NULL when there are too many frames. */
static inline struct last_frame *last_walk(struct last *l, struct unwind_place p, uint32_t *walked) {
    struct last_frame *old = last_innermost(l), *end = l->frames + LAST_ROOM;
    struct stack_bounds s = bounds_of(p.sp);
    struct unwind_slots slots = {0, 0, 0};
    enum unwind_end step = UNWIND_MORE;
    uint32_t n = 0;
    bool jit = false;
    while (step == UNWIND_MORE && unwind_is_ours(p.pc))
        step = unwind_step(&p, &s, &slots, &jit);
    while (step == UNWIND_MORE) {
        while (old < end && old->sp < p.sp)
            old++;
        if (old < end && last_is(old, &p)) {
            old->slots = slots; /* another callee may have saved the frame pointer elsewhere */
            struct last_frame *differs = last_compare(l, old, &s);
            *walked = n;
            if (differs == end)
                return old;
            for (; old < differs - 1 && n < LAST_MOST; old++)
                l->walked[n++] = *old;
            p = (struct unwind_place){old->pc, old->sp, old->fp, old->flags & LAST_SIGNAL};
            slots = old->slots;
            old++;
        }
        if (n == LAST_MOST)
            return NULL;
        struct last_frame *f = &l->walked[n++];
        *f = (struct last_frame){p.pc, p.sp, p.fp, slots, 0, p.exact ? LAST_SIGNAL : 0};
        step = unwind_step(&p, &s, &slots, &jit);
        f->flags |= jit ? LAST_JIT : 0;
    }
    if (n > 0 && step == UNWIND_LOST)
        l->walked[n - 1].flags |= LAST_CUT;
    *walked = n;
    return end;
}

/* The stack from `p` on, our own frames left out, in l->frames. */
static void unwind_again(struct last *l, struct unwind_place p) {
    uint32_t n = 0;
    struct last_frame *joined = last_walk(l, p, &n);
    if (joined && last_take(l, joined, n))
        return;
    l->depth = 0; /* no room: from the beginning */
    joined = last_walk(l, p, &n);
    last_take(l, l->frames + LAST_ROOM, joined ? n : last_cut(l));
}

/* The number of the stack, which is that of its innermost frame; 0 where a frame gets none. `node` gives a
 * frame its number, from that of its caller. */
static inline uint32_t last_number(struct last *l,
                                   uint32_t (*node)(uint32_t, const struct last_frame *)) {
    struct last_frame *inner = last_innermost(l), *f = inner + l->fresh;
    uint32_t number = f < l->frames + LAST_ROOM ? f->node : 0;
    while (f-- > inner) {
        f->node = number = node(number, f);
        if (!number)
            break;
    }
    l->fresh = 0;
    if (!number)
        l->depth = 0;
    return number;
}
