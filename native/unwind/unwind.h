/* unwind.h: call stacks for record, the guard and the profiler.
 *
 *     struct unwind_place place = unwind_here();
 *     unsigned n = unwind_addresses(place, addresses, 32);      any time, without a memory
 *     unwind_again(&mine, place);                               with one: last.h
 *
 * Frame pointers alone end in the first function that was compiled without them (all of libc and
 * libstdc++ on Debian), so each frame is left by what the unwind tables say about it (rules.h,
 * tables.h), and by the frame pointer where there is no table: code made at run time, assembly.
 *
 *   1. Nothing is allocated, no lock is taken, and no function of libc is called that does either.
 *      What the tables say is remembered in one hash table for all threads; its entries are checked
 *      instead of locked.
 *   2. Only stack is read: between the frame that we stand on and the end of the stack that it is on.
 *
 * Price (2.5 GHz): 5 to 15 ns a frame, 1 to 3 µs for an address that is met for the first time.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "tables.h"

/* A function's frame as its callee sees it: where the call returns to, and the registers then. */
struct unwind_place {
    uintptr_t pc, sp, fp;
    bool exact; /* pc is where a signal interrupted, not where a call returns to */
};

/* Where the function that calls this one stands. */
static __attribute__((noinline, unused)) struct unwind_place unwind_here(void) {
    return (struct unwind_place){
        .pc = (uintptr_t)__builtin_return_address(0),
        .sp = (uintptr_t)__builtin_dwarf_cfa(),
        .fp = *(uintptr_t *)__builtin_frame_address(0),
    };
}

/* ── rules, remembered ─────────────────────────────────────────────────────── */

/* `check` is the address, xor the rule: an entry that another thread is writing fails the check,
 * and is found anew. */
enum { RULES = 1 << 14 };
static struct {
    _Atomic(uint64_t) check, rule;
} rules[RULES];

/* After a library was unmapped: another one may be mapped at its addresses. */
UNWIND_UNUSED static void unwind_forget(void) {
    for (size_t i = 0; i < RULES; i++) /* untouched memory stays so */
        if (atomic_load_explicit(&rules[i].check, memory_order_relaxed))
            atomic_store_explicit(&rules[i].check, 0, memory_order_relaxed);
}

static inline struct rule rule_at(uintptr_t address) {
    size_t at = (address * 0x9e3779b97f4a7c15u >> 32) % RULES;
    uint64_t rule = atomic_load_explicit(&rules[at].rule, memory_order_relaxed);
    uint64_t check = atomic_load_explicit(&rules[at].check, memory_order_relaxed);
    if (__builtin_expect((check ^ rule) == address, 1))
        return rule_unpack(rule);
    struct rule found = rule_find(address);
    rule = rule_pack(found);
    atomic_store_explicit(&rules[at].rule, rule, memory_order_relaxed);
    atomic_store_explicit(&rules[at].check, rule ^ address, memory_order_relaxed);
    return found;
}

/* ── the stack that we stand on ────────────────────────────────────────────── */

extern void *__libc_stack_end __attribute__((weak)); /* the main thread's */

struct stack_bounds {
    uintptr_t low, high;
};

enum { STACK_NEAR = 64 << 20, STACKS_KNOWN = 4 };

/* Stacks that are no thread's own: of coroutines, of signal handlers. The kernel knows them. */
static __attribute__((cold, noinline)) struct stack_bounds bounds_search(uintptr_t sp) {
    static _Thread_local struct stack_bounds known[STACKS_KNOWN];
    static _Thread_local unsigned last;
    for (unsigned i = 0; i < STACKS_KNOWN; i++)
        if (sp >= known[i].low && sp < known[i].high)
            return known[i];
    struct mapping m;
    int saved = errno;
    bool found = mapping_find(sp, &m);
    errno = saved;
    if (!found || !m.readable || !m.writable)
        return (struct stack_bounds){0, 0};
    return known[last++ % STACKS_KNOWN] = (struct stack_bounds){m.start, m.end};
}

/* A thread's own stack ends at its control block, the main thread's where libc says. */
static inline struct stack_bounds bounds_of(uintptr_t sp) {
    uintptr_t control = (uintptr_t)pthread_self();
    uintptr_t end = &__libc_stack_end ? (uintptr_t)__libc_stack_end : 0;
    if (control - sp < STACK_NEAR)
        return (struct stack_bounds){sp, control};
    if (end - sp < STACK_NEAR)
        return (struct stack_bounds){sp, end};
    return bounds_search(sp);
}

static inline bool on_stack(const struct stack_bounds *s, uintptr_t at) {
    return at >= s->low && at < s->high && s->high - at >= sizeof(uintptr_t) &&
           at % sizeof(uintptr_t) == 0;
}

static inline uintptr_t stack_word(uintptr_t at) {
    return *(const uintptr_t *)at;
}

/* ── a step ────────────────────────────────────────────────────────────────── */

/* Where the three numbers of a place were read; 0 where they follow from the frame before. */
struct unwind_slots {
    uintptr_t pc, fp, sp;
};

enum unwind_end {
    UNWIND_MORE,
    UNWIND_OUTERMOST, /* there is no caller */
    UNWIND_LOST,      /* there may be, but we cannot find it */
};

/* The CFA; 0 where there is none. */
static inline uintptr_t rule_cfa(struct rule r, const struct unwind_place *p,
                                 const struct stack_bounds *s, struct unwind_slots *slots) {
    uintptr_t cfa = (r.kind == RULE_SP || r.kind == RULE_SP_DEREF ? p->sp : p->fp) + (uintptr_t)r.cfa;
    if (__builtin_expect(r.kind == RULE_SP || r.kind == RULE_FP, 1))
        return cfa;
    if (r.kind == RULE_CHAIN)
        return p->fp >= p->sp && p->fp % sizeof(uintptr_t) == 0 ? cfa : 0;
    if (r.kind == RULE_PLT)
        return p->sp + ((p->pc & 15) >= 11 ? 16 : 8);
    if ((r.kind != RULE_SP_DEREF && r.kind != RULE_FP_DEREF) || !on_stack(s, cfa))
        return 0;
    slots->sp = cfa;
    return stack_word(cfa);
}

/* Goes on to the caller of `p`. `jit`: whether `p` itself lies in no file. */
static inline enum unwind_end unwind_step(struct unwind_place *p, struct stack_bounds *s,
                                          struct unwind_slots *slots, bool *jit) {
    struct rule r = rule_at(p->pc - !p->exact);
    *slots = (struct unwind_slots){0, 0, 0};
    *jit = r.jit;
    uintptr_t cfa = rule_cfa(r, p, s, slots), sp = p->sp;
    if (!cfa)
        return r.kind == RULE_END || (r.kind == RULE_CHAIN && !p->fp) ? UNWIND_OUTERMOST : UNWIND_LOST;
    slots->pc = (r.pc_at_sp ? sp : cfa) + (uintptr_t)(r.pc * 8l);
    if (!on_stack(s, slots->pc))
        return UNWIND_LOST;
    if (r.fp_at != RULE_SAME) {
        slots->fp = (r.fp_at == RULE_AT_CFA ? cfa : r.fp_at == RULE_AT_SP ? sp : p->fp) +
                    (uintptr_t)(r.fp * 8l);
        if (!on_stack(s, slots->fp))
            return UNWIND_LOST;
        p->fp = stack_word(slots->fp);
    }
    if (r.signal) /* it may have come on another stack */
        *s = bounds_of(cfa);
    else if (cfa <= sp)
        return UNWIND_LOST;
    p->pc = stack_word(slots->pc);
    p->sp = cfa;
    p->exact = r.signal;
    return p->pc ? UNWIND_MORE : UNWIND_OUTERMOST;
}

/* ── without a memory ──────────────────────────────────────────────────────── */

extern const char unwind_code_start[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));

/* Our own library's, whose variables lie behind its code: no caller of malloc. */
static inline bool unwind_is_ours(uintptr_t pc) {
    return pc - (uintptr_t)unwind_code_start < (uintptr_t)rules - (uintptr_t)unwind_code_start;
}

/* The return addresses from `p` on, the innermost first, our own left out; how many there are. */
UNWIND_UNUSED static unsigned unwind_addresses(struct unwind_place p, uintptr_t *to, unsigned most) {
    struct stack_bounds s = bounds_of(p.sp);
    struct unwind_slots slots;
    unsigned n = 0;
    bool jit;
    enum unwind_end end = UNWIND_MORE;
    while (end == UNWIND_MORE && n < most) {
        if (!unwind_is_ours(p.pc))
            to[n++] = p.pc;
        end = unwind_step(&p, &s, &slots, &jit);
    }
    return n;
}
