/* news.h: C++'s operators new and delete, recorded as malloc or aligned_alloc, and free, called
 * by the function that said `new`. The library behind us decides how:
 *
 *     libstdc++, or none yet     they would call malloc: we do so ourselves
 *     the malloc at work         jemalloc, tcmalloc, mimalloc bring operators that go straight to their
 *                                core: each call is passed on to it, and recorded around it
 *     another library            the program has replaced an operator: its own calls of malloc are
 *                                recorded
 *
 * A file that includes this one has defined is_ready, got, gives and news_free, WORK and REST around the
 * malloc's own work, and news_allocate_soon: news_allocate, or a shorter way, or NULL for the longer one.
 */
#pragma once

#include "next.h"

enum operators { OPERATORS_UNKNOWN, OPERATORS_OURS, OPERATORS_OF_MALLOC, OPERATORS_REPLACED };
static enum operators operators;
static COLD enum operators operators_look(void);

static inline enum operators operators_now(void) {
    return likely(operators) ? operators : operators_look();
}

/* As libstdc++ does it. What fails is not on record yet: libstdc++ tries again. */
static inline void *news_allocate(size_t size, size_t alignment, uintptr_t site) {
    size_t least = size ? size : 1, whole = (least + alignment - 1) & ~(alignment - 1);
    WORK;
    void *p = alignment ? next.aligned_alloc(alignment, whole < least ? least : whole)
                        : next.malloc(least);
    if (unlikely(!p)) {
        REST;
        return NULL;
    }
    return got(p, alignment ? TRACE_ALIGNED_ALLOC : TRACE_MALLOC, least, alignment, site);
}

static inline void *news_allocate_soon(size_t size, size_t alignment, uintptr_t site);

#define BARE(...) __VA_ARGS__

/* What is not the common case has a function of its own, so that this one has few registers to save. */
#define NEW(symbol, array, alignment, parameters, types, ...)                                      \
    static COLD void *symbol##_elsewhere(uintptr_t site, BARE parameters) {                        \
        enum operators who = operators_now();                                                      \
        void *p = who == OPERATORS_OURS ? news_allocate(size, alignment, site) : NULL;             \
        if (p)                                                                                     \
            return p;                                                                              \
        OPERATOR_NEXT(symbol)                                                                      \
        void *(*function) types = (void *(*)types)o.function;                                      \
        if (who != OPERATORS_OF_MALLOC || !next_calls(o.address))                                  \
            return function(__VA_ARGS__);                                                          \
        WORK;                                                                                      \
        return got(function(__VA_ARGS__), (alignment) ? TRACE_ALIGNED_ALLOC : TRACE_MALLOC, size,  \
                   alignment, site);                                                               \
    }                                                                                              \
    EXPORT void *symbol parameters;                                                                \
    EXPORT void *symbol parameters {                                                               \
        bool ours = likely(operators == OPERATORS_OURS);                                           \
        void *p = ours ? news_allocate_soon(size, alignment, SITE) : NULL;                         \
        return likely(p) ? p : symbol##_elsewhere(SITE, __VA_ARGS__);                              \
    }

#define DELETE(symbol, array, bytes, alignment, parameters, types, ...)                            \
    static COLD void symbol##_elsewhere(uintptr_t site, BARE parameters) {                         \
        enum operators who = operators_now();                                                      \
        if (who == OPERATORS_OURS) {                                                               \
            news_free(p, site);                                                                    \
            return;                                                                                \
        }                                                                                          \
        if (unlikely(early_owns(p)))                                                               \
            return;                                                                                \
        OPERATOR_NEXT(symbol)                                                                      \
        void (*function) types = (void (*)types)o.function;                                        \
        if (who != OPERATORS_OF_MALLOC || !next_calls(o.address)) {                                \
            function(__VA_ARGS__);                                                                 \
            return;                                                                                \
        }                                                                                          \
        gives(p, TRACE_FREE, site);                                                                \
        WORK;                                                                                      \
        function(__VA_ARGS__);                                                                     \
        REST;                                                                                      \
    }                                                                                              \
    EXPORT void symbol parameters;                                                                 \
    EXPORT void symbol parameters {                                                                \
        if (likely(operators == OPERATORS_OURS))                                                   \
            news_free(p, SITE);                                                                    \
        else                                                                                       \
            symbol##_elsewhere(SITE, __VA_ARGS__);                                                 \
    }

#include "../../base/operators.h"

/* With the first new or delete, when all libraries that the program needs are there. */
static COLD enum operators operators_look(void) {
    Dl_info info;
    if (!is_ready())
        return OPERATORS_REPLACED;
    int saved = errno;
    void *behind = dlsym(RTLD_NEXT, "_Znwm");
    const char *home = behind && dladdr(behind, &info) && info.dli_fname ? info.dli_fname : "";
    bool of_library = !behind || strstr(home, "/libstdc++.") || strstr(home, "/libc++.");
    if (behind && next_calls(behind))
        operators = OPERATORS_OF_MALLOC;
    else
        operators = of_library && !operators_are_replaced() ? OPERATORS_OURS : OPERATORS_REPLACED;
    errno = saved;
    return operators;
}
