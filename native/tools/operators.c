/* operators.c: trace.c, and C++'s operators new and delete as well.
 *
 * libstdc++'s operators call malloc and free, where trace.c stands. But jemalloc, tcmalloc,
 * mimalloc bring operators of their own, which go straight to their core: in front of
 * such a malloc this library is preloaded instead of libmalloc-trace.so, and only there,
 * because whoever defines an operator has to find one to pass the call on to. A new is
 * on record as malloc or aligned_alloc, a delete as free.
 *
 * An exception passes through us as through any frame with unwind tables; what throws
 * has handed out nothing, and is not on record. What the malloc lacks of the family is
 * libstdc++'s, which calls malloc or another operator: that is recorded there, and here
 * only passed on, by a jump (what returns to our own code is the malloc's business: next_calls).
 *
 * By hand: cc -O2 -fPIC -shared -fexceptions -o libmalloc-operators.so native/tools/operators.c
 */
#include "trace.c"

/* Bound at the first call: the malloc's, or libstdc++'s, even if only a plugin has it. */
struct operator {
    const char *name;
    void (*function)(void);
    bool own; /* it is the malloc's, and calls no malloc that we could see */
};

static COLD void operator_find(struct operator *o) {
    static const char *const homes[] = {"libstdc++.so.6", "libc++.so.1"};
    int saved = errno;
    void *found = dlsym(RTLD_NEXT, o->name);
    for (size_t i = 0; !found && i < sizeof homes / sizeof *homes; i++) {
        void *library = dlopen(homes[i], RTLD_LAZY | RTLD_NOLOAD);
        found = library ? dlsym(library, o->name) : NULL;
    }
    if (!found) {
        static const char said[] = "libmalloc: no operator new or delete to pass a call on to\n";
        syscall(SYS_write, STDERR_FILENO, said, sizeof said - 1);
        abort();
    }
    o->own = is_ready() && next_calls(found);
    memcpy(&o->function, &found, sizeof found);
    errno = saved;
}

#define OPERATOR(symbol)                                                                           \
    static struct operator o = {.name = #symbol};                                                  \
    if (unlikely(!o.function))                                                                     \
        operator_find(&o);

#define NEW(symbol, op, alignment, parameters, types, ...)                                         \
    EXPORT void *symbol parameters;                                                                \
    EXPORT void *symbol parameters {                                                               \
        OPERATOR(symbol)                                                                           \
        void *(*function) types = (void *(*)types)o.function;                                      \
        if (!o.own)                                                                                \
            return function(__VA_ARGS__);                                                          \
        WORK;                                                                                      \
        return got(function(__VA_ARGS__), op, size, alignment, SITE);                              \
    }

#define DELETE(symbol, parameters, types, ...)                                                     \
    EXPORT void symbol parameters;                                                                 \
    EXPORT void symbol parameters {                                                                \
        OPERATOR(symbol)                                                                           \
        void (*function) types = (void (*)types)o.function;                                        \
        if (early_owns(p))                                                                         \
            return;                                                                                \
        if (!o.own) {                                                                              \
            function(__VA_ARGS__);                                                                 \
            return;                                                                                \
        }                                                                                          \
        gives(p, TRACE_FREE, SITE);                                                                \
        WORK;                                                                                      \
        function(__VA_ARGS__);                                                                     \
        REST;                                                                                      \
    }

typedef const void *nothrow;

/* clang-format off */
NEW(_Znwm, TRACE_MALLOC, 0, (size_t size), (size_t), size)
NEW(_Znam, TRACE_MALLOC, 0, (size_t size), (size_t), size)
NEW(_ZnwmRKSt9nothrow_t, TRACE_MALLOC, 0, (size_t size, nothrow n), (size_t, nothrow), size, n)
NEW(_ZnamRKSt9nothrow_t, TRACE_MALLOC, 0, (size_t size, nothrow n), (size_t, nothrow), size, n)
NEW(_ZnwmSt11align_val_t, TRACE_ALIGNED_ALLOC, a, (size_t size, size_t a), (size_t, size_t), size, a)
NEW(_ZnamSt11align_val_t, TRACE_ALIGNED_ALLOC, a, (size_t size, size_t a), (size_t, size_t), size, a)
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, TRACE_ALIGNED_ALLOC, a, (size_t size, size_t a, nothrow n),
    (size_t, size_t, nothrow), size, a, n)
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, TRACE_ALIGNED_ALLOC, a, (size_t size, size_t a, nothrow n),
    (size_t, size_t, nothrow), size, a, n)

DELETE(_ZdlPv, (void *p), (void *), p)
DELETE(_ZdaPv, (void *p), (void *), p)
DELETE(_ZdlPvm, (void *p, size_t size), (void *, size_t), p, size)
DELETE(_ZdaPvm, (void *p, size_t size), (void *, size_t), p, size)
DELETE(_ZdlPvRKSt9nothrow_t, (void *p, nothrow n), (void *, nothrow), p, n)
DELETE(_ZdaPvRKSt9nothrow_t, (void *p, nothrow n), (void *, nothrow), p, n)
DELETE(_ZdlPvSt11align_val_t, (void *p, size_t a), (void *, size_t), p, a)
DELETE(_ZdaPvSt11align_val_t, (void *p, size_t a), (void *, size_t), p, a)
DELETE(_ZdlPvmSt11align_val_t, (void *p, size_t size, size_t a), (void *, size_t, size_t), p, size, a)
DELETE(_ZdaPvmSt11align_val_t, (void *p, size_t size, size_t a), (void *, size_t, size_t), p, size, a)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t a, nothrow n),
       (void *, size_t, nothrow), p, a, n)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t a, nothrow n),
       (void *, size_t, nothrow), p, a, n)
/* clang-format on */
