/* cplusplus.h: C++'s operators new and delete in debug builds, so that a block's stack begins with
 * the caller of `new`, and mismatches are found: free of a block from new, delete of one from new[]
 * or malloc, another size or alignment than it was allocated with.
 *
 * If the program, or a library in front of us, has replaced an operator, we pass all calls on,
 * because only the replacement knows which calls match.
 */
#pragma once

#include "guard.h"

static bool operators_are_replaced(void);

/* Asks only once. The caller holds no lock, because dlopen and dlsym may allocate. */
static bool cplusplus_is_ours(void) {
    static _Atomic(int) answer; /* 0: not asked yet, 1: ours, 2: replaced */
    int known = atomic_load(&answer);
    if (unlikely(!known))
        atomic_store(&answer, known = operators_are_replaced() ? 2 : 1);
    return known == 1;
}

static void *cplusplus_mark(void *p, enum made made) {
    struct record *r = p ? record_find(p) : NULL;
    if (r)
        r->made = (uint8_t)made;
    return p;
}

/* NULL if libstdc++ has to handle the call: a bad alignment, a size too large, or no memory. */
static void *cplusplus_allocate(size_t size, size_t alignment, enum made made) {
    if (alignment & (alignment - 1) || size > PTRDIFF_MAX - alignment)
        return NULL;
    size_t least = alignment > ALIGNMENT ? alignment : ALIGNMENT;
    return cplusplus_mark(guard_place(least, size, false, "operator new"), made);
}

static void cplusplus_free(char *p, enum made made, size_t size, size_t alignment, const char *call) {
    uint32_t number = p ? guard_check(p, call) : 0;
    if (number) {
        struct record *r = record_at(number);
        size_t is = (size_t)1 << r->alignment, said = alignment > ALIGNMENT ? alignment : ALIGNMENT;
        guard_match(r, made, call);
        bool known = guard.match && r->made == made;
        if (known && size != SIZE_MAX && r->size != size)
            accuse(r, call, "%p is a block of %zu bytes, not %zu", (void *)p, r->size, size);
        if (known && is != said)
            accuse(r, call, "%p was allocated with an alignment of %zu bytes, not %zu", (void *)p, is,
                   said);
        made = r->made;
        record_release(r, LIVE);
    }
    guard_give(p, made, call);
}

#define MADE(array) ((array) ? MADE_BY_NEW_ARRAY : MADE_BY_NEW)

#define NEW(symbol, array, alignment, parameters, types, ...)                                      \
    EXPORT void *symbol parameters;                                                                \
    EXPORT void *symbol parameters {                                                               \
        bool ours = cplusplus_is_ours();                                                           \
        void *p = ours ? cplusplus_allocate(size, alignment, MADE(array)) : NULL;                  \
        if (likely(p))                                                                             \
            return p;                                                                              \
        OPERATOR_NEXT(symbol)                                                                      \
        p = ((void *(*)types)o.function)(__VA_ARGS__);                                             \
        return ours ? cplusplus_mark(p, MADE(array)) : p;                                          \
    }

#define DELETE(symbol, array, bytes, alignment, parameters, types, ...)                            \
    EXPORT void symbol parameters;                                                                 \
    EXPORT void symbol parameters {                                                                \
        if (likely(cplusplus_is_ours())) {                                                         \
            cplusplus_free(p, MADE(array), bytes, alignment,                                       \
                           (array) ? "operator delete[]" : "operator delete");                     \
            return;                                                                                \
        }                                                                                          \
        OPERATOR_NEXT(symbol)                                                                      \
        ((void (*)types)o.function)(__VA_ARGS__);                                                  \
    }

#include "../base/operators.h"
