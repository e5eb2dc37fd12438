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
    bool finding;
} next;

/* dlsym calls malloc when it fails, and so calls us: it gets a few blocks that are never
 * freed, each preceded by its size. */
static struct {
    _Alignas(16) char bytes[16384];
    size_t used;
} early;

static void *early_allocate(size_t size) {
    size_t need = 16 + ((size + 15) & ~(size_t)15);
    if (size > sizeof early.bytes || need > sizeof early.bytes - early.used) {
        errno = ENOMEM;
        return NULL;
    }
    char *block = early.bytes + early.used;
    early.used += need;
    memcpy(block, &size, sizeof size);
    return block + 16;
}

static inline bool early_owns(const void *p) {
    return (uintptr_t)p - (uintptr_t)early.bytes < sizeof early.bytes;
}

static size_t early_size(const void *p) {
    size_t size;
    memcpy(&size, (const char *)p - 16, sizeof size);
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

static bool next_is_libc(const char *name) {
    Dl_info info;
    void *function = dlsym(RTLD_NEXT, name);
    return !function || (dladdr(function, &info) && info.dli_fname && is_libc(info.dli_fname));
}

static void *next_reallocarray(void *p, size_t count, size_t size) {
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes))
        return next.realloc(p, bytes);
    errno = ENOMEM;
    return NULL;
}

/* A malloc may call its own public functions (calloc its malloc, say); these are not calls
 * of the program. libc's calls of malloc do count. */
static void next_measure(void) {
    Dl_info info;
    void *function;
    memcpy(&function, &next.malloc, sizeof function);
    if (!dladdr(function, &info) || !info.dli_fname || is_libc(info.dli_fname))
        return;
    const ElfW(Ehdr) *elf = info.dli_fbase;
    const ElfW(Phdr) *part = (const void *)((const char *)info.dli_fbase + elf->e_phoff);
    next.start = (uintptr_t)info.dli_fbase;
    for (int i = 0; i < elf->e_phnum; i++)
        if (part[i].p_type == PT_LOAD && next.size < part[i].p_vaddr + part[i].p_memsz)
            next.size = part[i].p_vaddr + part[i].p_memsz;
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

static void next_name(void) {
    static const char *const names[] = {"malloc", "calloc", "realloc", "free"};
    for (int i = 0; i < 4; i++) {
        Dl_info info;
        void *function = dlsym(RTLD_NEXT, names[i]);
        if (function && dladdr(function, &info) && info.dli_fname)
            strncpy(next_files[i], info.dli_fname, sizeof next_files[i] - 1);
    }
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
    if (next_is_libc("malloc_usable_size") != next_is_libc("malloc"))
        next.malloc_usable_size = NULL; /* libc's knows nothing of another's blocks */
    next_measure();
    next_name();
    if (next_is_libc("reallocarray")) /* it calls realloc like any other */
        next.reallocarray = next_reallocarray;
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
