/* next.h: the malloc behind us, a small heap until we know it, and the start of a tool. */
#pragma once

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../libmalloc.h"
#include "../trace.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define COLD        __attribute__((cold, noinline))
#define EXPORT      __attribute__((visibility("default")))

/* The caller of the function that says so. */
#define SITE ((uintptr_t)__builtin_return_address(0))

/* C23, not declared by the C library of Debian 12. */
EXPORT void free_sized(void *p, size_t size);
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size);

/* The functions that the dynamic linker would have bound the program to without us. */
static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*reallocarray)(void *, size_t, size_t);
    void (*free)(void *);
    void (*free_sized)(void *, size_t);
    void (*free_aligned_sized)(void *, size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    size_t (*malloc_usable_size)(void *);
    int (*walk)(int (*)(const struct libmalloc_chunk *, void *), void *);
    uintptr_t start, size; /* the library's own code, where it calls itself; not libc's */
    bool aligns; /* posix_memalign is of the same file as malloc */
    bool finding;
} next;

/* dlsym calls malloc when it fails, and so calls us: it gets a few blocks that are never
 * freed, each preceded by its size. Their addresses are multiples of EARLY_STEP: see profile/blocks.h. */
enum { EARLY_STEP = 4096 };
static struct {
    _Alignas(EARLY_STEP) char bytes[32 * EARLY_STEP];
    size_t used;
} early;

static void *early_allocate(size_t size) {
    size_t room = sizeof early.bytes - early.used - EARLY_STEP;
    size_t need = (size + sizeof size + EARLY_STEP - 1) & ~(size_t)(EARLY_STEP - 1);
    if (size > sizeof early.bytes || need > room) {
        errno = ENOMEM;
        return NULL;
    }
    char *block = early.bytes + early.used + EARLY_STEP;
    early.used += need;
    memcpy(block - sizeof size, &size, sizeof size);
    return block;
}

static inline bool early_owns(const void *p) {
    return (uintptr_t)p - (uintptr_t)early.bytes < sizeof early.bytes;
}

static size_t early_size(const void *p) {
    size_t size;
    memcpy(&size, (const char *)p - sizeof size, sizeof size);
    return size;
}

/* By the malloc that the tool defines: it may be ready meanwhile. The early block is left as it is. */
static void *early_resize(void *p, size_t size) {
    void *q = malloc(size);
    if (q && p)
        memcpy(q, p, early_size(p) < size ? early_size(p) : size);
    return q;
}

/* Converts an object pointer to a function pointer, as POSIX requires of dlsym. */
static void next_bind(void *function, const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

static bool is_libc(const char *file) {
    const char *name = strrchr(file, '/');
    name = name ? name + 1 : file;
    return strncmp(name, "libc.", 5) == 0 || strncmp(name, "ld-musl-", 8) == 0;
}

/* Where a function is defined: a loaded file. */
struct object {
    uintptr_t function, start, size;
    const char *file;
};

static int object_holds(struct dl_phdr_info *info, size_t size, void *wanted) {
    struct object *o = wanted;
    (void)size;
    bool holds = false;
    uintptr_t end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD)
            continue;
        holds |= o->function - info->dlpi_addr - part->p_vaddr < part->p_memsz;
        end = part->p_vaddr + part->p_memsz;
    }
    if (holds)
        *o = (struct object){o->function, info->dlpi_addr, end, info->dlpi_name};
    return holds;
}

/* `file` is "" where there is no such function. dladdr would look for its name, too: among thousands in
 * libc, at each of our starts. */
static struct object object_of(uintptr_t function) {
    struct object o = {function, 0, 0, ""};
    if (function)
        dl_iterate_phdr(object_holds, &o);
    return o;
}

/* libc's, or nobody's. */
static bool is_of_libc(uintptr_t function) {
    const char *file = object_of(function).file;
    return !*file || is_libc(file);
}

static void *next_reallocarray(void *p, size_t count, size_t size) {
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes))
        return next.realloc(p, bytes);
    errno = ENOMEM;
    return NULL;
}

/* Our own code: a malloc whose functions end in a jump to public ones returns here. */
extern const char own_start[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));
extern const char own_end[] __asm__("_etext") __attribute__((visibility("hidden")));

static inline bool next_calls(const void *site) {
    return (uintptr_t)site - next.start < next.size ||
           (uintptr_t)site - (uintptr_t)own_start < (size_t)(own_end - own_start);
}

/* The files that the pairs of calls go to: malloc, calloc, realloc, free. */
static char next_files[4][TRACE_PATH];

/* A malloc may call its own public functions (calloc its malloc, say); these are not calls
 * of the program. libc's calls of malloc do count. */
static void next_measure(void) {
    uintptr_t pairs[] = {(uintptr_t)next.malloc, (uintptr_t)next.calloc, (uintptr_t)next.realloc,
                         (uintptr_t)next.free};
    for (int i = 0; i < 4; i++)
        strncpy(next_files[i], object_of(pairs[i]).file, sizeof next_files[i] - 1);
    struct object o = object_of(pairs[0]);
    bool of_libc = is_of_libc(pairs[0]);
    if (!of_libc) {
        next.start = o.start;
        next.size = o.size;
    }
    next.aligns = strcmp(object_of((uintptr_t)next.posix_memalign).file, o.file) == 0;
    if (is_of_libc((uintptr_t)next.malloc_usable_size) != of_libc)
        next.malloc_usable_size = NULL; /* libc's knows nothing of another's blocks */
    if (is_of_libc((uintptr_t)next.reallocarray)) /* it calls realloc like any other */
        next.reallocarray = next_reallocarray;
}

/* Once, at the first call in the process, when there is only one thread. malloc last:
 * it says that the others are there. */
static COLD void next_find(void) {
    int saved = errno;
    next.finding = true;
    next_bind(&next.calloc, "calloc");
    next_bind(&next.realloc, "realloc");
    next_bind(&next.reallocarray, "reallocarray");
    next_bind(&next.free, "free");
    next_bind(&next.free_sized, "free_sized");
    next_bind(&next.free_aligned_sized, "free_aligned_sized");
    next_bind(&next.posix_memalign, "posix_memalign");
    next_bind(&next.aligned_alloc, "aligned_alloc");
    next_bind(&next.memalign, "memalign");
    next_bind(&next.valloc, "valloc");
    next_bind(&next.pvalloc, "pvalloc");
    next_bind(&next.malloc_usable_size, "malloc_usable_size");
    next_bind(&next.walk, "libmalloc_walk");
    next_bind(&next.malloc, "malloc");
    next_measure();
    next.finding = false;
    errno = saved;
}

/* Defined by each tool: reads its variable and opens its file. */
static void tool_begin(void);

/* libc sets `environ` after the first calls of malloc. */
static bool begun;
static COLD bool ready(void) {
    if (next.finding)
        return false;
    if (!next.malloc)
        next_find();
    if (!begun && environ) {
        begun = true;
        tool_begin();
    }
    return true;
}

static inline bool is_ready(void) {
    return likely(begun) || ready();
}

static size_t product(size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes;
}
