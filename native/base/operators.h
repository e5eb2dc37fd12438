/* operators.h: all forms of C++'s operator new and delete. A file that includes this one defines
 *
 *     NEW(symbol, array, alignment, parameters, types, arguments…)
 *     DELETE(symbol, array, size, alignment, parameters, types, arguments…)
 *
 * and gets an exported function for each form. record (tools/trace/news.h) and debug builds
 * (guard/cplusplus.h) do, because they want to know the program's caller of `new`, not libstdc++'s
 * of malloc. The alignment is 0 where a form has none, the size SIZE_MAX. Release builds have no
 * operators: libstdc++'s call malloc, which is all that a malloc needs.
 *
 * Only C++ can throw std::bad_alloc and call a new_handler. So if there is no memory, we pass the
 * call on to libstdc++'s own operator, which tries again and then does one of these. An exception
 * passes through our frames as through any with unwind tables.
 */
#pragma once

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

/* The operator that ours replaces, looked up when it is first needed. */
struct operator_next {
    const char *name;
    void (*function)(void); /* NULL: not looked for yet */
    const void *address;    /* the same */
};

/* The next library's operator. If no library after us has it, a plugin loaded its own libstdc++. */
static __attribute__((cold, noinline)) void operator_find(struct operator_next *o) {
    static const char *const names[] = {"libstdc++.so.6", "libc++.so.1"};
    int saved = errno;
    void *found = dlsym(RTLD_NEXT, o->name);
    for (size_t i = 0; !found && i < sizeof names / sizeof *names; i++) {
        void *library = dlopen(names[i], RTLD_LAZY | RTLD_NOLOAD);
        found = library ? dlsym(library, o->name) : NULL;
    }
    if (!found) {
        static const char said[] = "libmalloc: no operator new or delete to pass a call on to\n";
        syscall(SYS_write, STDERR_FILENO, said, sizeof said - 1);
        abort();
    }
    errno = saved;
    o->address = found;
    memcpy(&o->function, &found, sizeof found);
}

#define OPERATOR_NEXT(symbol)                                                                      \
    static struct operator_next o = {.name = #symbol};                                             \
    if (!o.function)                                                                               \
        operator_find(&o);

/* Has the program, or a library in front of us, replaced an operator? By the standard the other
 * forms call that one, and libstdc++'s do. `ours` is the address of our own function. */
static bool operator_is_replaced(const char *name, uintptr_t ours) {
    void *program = dlopen(NULL, RTLD_LAZY | RTLD_NOLOAD); /* RTLD_DEFAULT begins with us: -Bsymbolic */
    void *first = program ? dlsym(program, name) : NULL;
    return first && (uintptr_t)first != ours;
}

typedef const void *nothrow;

/* clang-format off */
NEW(_Znwm, false, 0, (size_t size), (size_t), size)
NEW(_Znam, true, 0, (size_t size), (size_t), size)
NEW(_ZnwmRKSt9nothrow_t, false, 0, (size_t size, nothrow n), (size_t, nothrow), size, n)
NEW(_ZnamRKSt9nothrow_t, true, 0, (size_t size, nothrow n), (size_t, nothrow), size, n)
NEW(_ZnwmSt11align_val_t, false, a, (size_t size, size_t a), (size_t, size_t), size, a)
NEW(_ZnamSt11align_val_t, true, a, (size_t size, size_t a), (size_t, size_t), size, a)
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, false, a, (size_t size, size_t a, nothrow n),
    (size_t, size_t, nothrow), size, a, n)
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, true, a, (size_t size, size_t a, nothrow n),
    (size_t, size_t, nothrow), size, a, n)

DELETE(_ZdlPv, false, SIZE_MAX, 0, (void *p), (void *), p)
DELETE(_ZdaPv, true, SIZE_MAX, 0, (void *p), (void *), p)
DELETE(_ZdlPvm, false, size, 0, (void *p, size_t size), (void *, size_t), p, size)
DELETE(_ZdaPvm, true, size, 0, (void *p, size_t size), (void *, size_t), p, size)
DELETE(_ZdlPvRKSt9nothrow_t, false, SIZE_MAX, 0, (void *p, nothrow n), (void *, nothrow), p, n)
DELETE(_ZdaPvRKSt9nothrow_t, true, SIZE_MAX, 0, (void *p, nothrow n), (void *, nothrow), p, n)
DELETE(_ZdlPvSt11align_val_t, false, SIZE_MAX, a, (void *p, size_t a), (void *, size_t), p, a)
DELETE(_ZdaPvSt11align_val_t, true, SIZE_MAX, a, (void *p, size_t a), (void *, size_t), p, a)
DELETE(_ZdlPvmSt11align_val_t, false, size, a, (void *p, size_t size, size_t a),
       (void *, size_t, size_t), p, size, a)
DELETE(_ZdaPvmSt11align_val_t, true, size, a, (void *p, size_t size, size_t a),
       (void *, size_t, size_t), p, size, a)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, false, SIZE_MAX, a, (void *p, size_t a, nothrow n),
       (void *, size_t, nothrow), p, a, n)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, true, SIZE_MAX, a, (void *p, size_t a, nothrow n),
       (void *, size_t, nothrow), p, a, n)
/* clang-format on */

/* Looks at the forms that other forms call by the standard. */
static bool operators_are_replaced(void) {
    return operator_is_replaced("_Znwm", (uintptr_t)_Znwm) ||
           operator_is_replaced("_Znam", (uintptr_t)_Znam) ||
           operator_is_replaced("_ZdlPv", (uintptr_t)_ZdlPv) ||
           operator_is_replaced("_ZdaPv", (uintptr_t)_ZdaPv) ||
           operator_is_replaced("_ZnwmSt11align_val_t", (uintptr_t)_ZnwmSt11align_val_t) ||
           operator_is_replaced("_ZdlPvSt11align_val_t", (uintptr_t)_ZdlPvSt11align_val_t);
}
