/* track.c: keeps a table of the blocks that are live, with their sizes and stacks, for a debugger to read.
 *
 * Preloaded in front of a malloc (any, without symbols too), it passes every call on. Nobody but the
 * debugger looks at the table: `heap` of `libmalloc gdb --track` reads the variables of this file
 * (native/gdb/track.py), in a live process or in a core.
 *
 *     blocks   address → size, stack, thread: a hash table        profile/blocks.h
 *     track    the tree of stacks                                 ../unwind/tree.h
 *     ranges   what the malloc has mapped for itself              track/ranges.h
 *
 * A block is taken out before the malloc gets it back, and put in after the malloc has handed it out, so that
 * no other thread's block of the same address is confused with it. While a thread is in between, its block is
 * in no table.
 *
 * The price: 0.3 µs for a malloc, and 48 to 96 bytes for each live block. All memory is our own, and private: a
 * forked child has a copy, and goes on with it.
 *
 *   1. Everything is under one lock. Under it, nothing of the malloc is called, and nothing that waits.
 *   2. A signal handler may allocate while its thread holds the lock: it finds `busy` set, and its call is
 *      counted in `missed` instead.
 *   3. `alive` is on a page that the kernel wipes in a forked child: without it, the lock may have been another
 *      thread's, which is not there (a raw clone; fork itself calls our handlers).
 *
 * By hand: cc -O2 -fPIC -shared -ftls-model=initial-exec -o libmalloc-track.so native/tools/track.c
 */
#include "../base/platform.h"

#include <stdarg.h>
#include <sys/syscall.h>

#include "../unwind/last.h"
#include "../unwind/tree.h"
#include "trace/next.h"

struct block {
    uintptr_t address;
    uint64_t size;   /* as it was asked for */
    uint32_t stack;  /* a node of the tree; 0: not known */
    uint32_t thread; /* gettid() */
};

#include "profile/blocks.h"
#include "track/ranges.h"

enum { LASTS = 64 };

static struct {
    _Atomic(uint32_t) *alive;
    pthread_mutex_t lock;
    struct tree tree;
    struct last *lasts[LASTS]; /* the last stack of a thread: several share one, which is slow and not wrong */
    _Atomic(uint32_t) threads;
    _Atomic(uint64_t) missed; /* calls that are not in the table */
    uint64_t bytes;           /* of the blocks in the table */
    uint64_t outside;         /* blocks, in all, that lay in no range when they began */
} track = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct {
    uint32_t number; /* from 1; 0 before the first call */
    uint32_t thread;
    bool busy, forking;
} here;

/* ── start ─────────────────────────────────────────────────────────────────── */

static void *memory_private(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Called by main's first allocation at the latest, long before there are threads. */
static COLD void tool_begin(void) {
    void *page = memory_private(4096);
    if (!page || madvise(page, 4096, MADV_WIPEONFORK) != 0)
        return;
    blocks.memory = ranges.memory = track.tree.memory = memory_private;
    track.alive = page;
    atomic_store(track.alive, 1);
}

/* ── the lock ──────────────────────────────────────────────────────────────── */

static COLD void thread_begin(void) {
    here.number = atomic_fetch_add(&track.threads, 1) + 1;
    here.thread = (uint32_t)syscall(SYS_gettid);
}

/* False where this call must not look: before the start, and in a handler that has interrupted us. */
static bool look(void) {
    if (unlikely(!track.alive))
        return false;
    if (unlikely(here.busy)) {
        atomic_fetch_add(&track.missed, 1);
        return false;
    }
    here.busy = true;
    if (unlikely(!atomic_load_explicit(track.alive, memory_order_relaxed))) {
        track.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        atomic_store(track.alive, 1);
        here.number = 0;
    }
    if (unlikely(!here.number))
        thread_begin();
    pthread_mutex_lock(&track.lock);
    return true;
}

static void look_away(void) {
    pthread_mutex_unlock(&track.lock);
    here.busy = false;
}

static void fork_begins(void) {
    here.forking = look();
}

static void fork_in_parent(void) {
    if (here.forking)
        look_away();
}

static void fork_in_child(void) {
    if (!here.forking)
        return;
    atomic_store(track.alive, 1);
    here.thread = (uint32_t)syscall(SYS_gettid);
    look_away();
}

__attribute__((constructor)) static void track_start(void) {
    is_ready();
    pthread_atfork(fork_begins, fork_in_parent, fork_in_child);
}

/* ── blocks ────────────────────────────────────────────────────────────────── */

static uint32_t stack_node(uint32_t parent, const struct last_frame *f) {
    uint64_t key = tree_key(f->pc, f->flags);
    uint32_t number = tree_find(&track.tree, parent, key);
    return number ? number : tree_add(&track.tree, parent, key);
}

/* The number of the stack that we stand on; 0 without memory. */
static uint32_t stack_here(void) {
    struct last **l = &track.lasts[here.number % LASTS];
    if (!*l && !(*l = memory_private(sizeof **l)))
        return 0;
    unwind_again(*l, unwind_here());
    return (*l)->depth ? last_number(*l, stack_node) : 0;
}

/* If a block is there already, its free went unnoticed. */
static void block_keep(struct block b) {
    struct block *stale = blocks_find((void *)b.address);
    if (stale) {
        track.bytes -= stale->size;
        *stale = b;
    } else if (!blocks_add(b)) {
        atomic_fetch_add(&track.missed, 1);
        return;
    }
    track.bytes += b.size;
    track.outside += !range_holds(b.address);
}

static __attribute__((noinline)) void block_begins(void *p, size_t size) {
    int error = errno;
    if (!look())
        return;
    block_keep((struct block){(uintptr_t)p, size, stack_here(), here.thread});
    look_away();
    errno = error;
}

/* Takes a block out; false where it is not known. */
static __attribute__((noinline)) bool block_ends(void *p, struct block *out) {
    int error = errno;
    if (!look())
        return false;
    struct block *b = blocks_find(p);
    if (b) {
        *out = blocks_take(b);
        track.bytes -= out->size;
    }
    look_away();
    errno = error;
    return b;
}

/* It lives on where a realloc has failed. */
static COLD void block_stays(struct block b) {
    int error = errno;
    if (!look())
        return;
    block_keep(b);
    look_away();
    errno = error;
}

/* ── the family ────────────────────────────────────────────────────────────── */

#define WORK ((void)0)
#define REST ((void)0)

static inline void *got(void *p, uint64_t op, size_t size, size_t alignment, uintptr_t site) {
    (void)op;
    (void)alignment;
    if (likely(p) && !next_calls((const void *)site))
        block_begins(p, size);
    return p;
}

static inline bool may_be_known(void *p) {
    return p && blocks_likely_hold(p);
}

static inline void gives(void *p, uint64_t op, uintptr_t site) {
    struct block b;
    (void)op;
    (void)site;
    if (may_be_known(p))
        block_ends(p, &b);
}

static void *resized(void *p, uint64_t op, size_t count, size_t size, uintptr_t site) {
    struct block old;
    bool known = may_be_known(p) && block_ends(p, &old);
    void *q = op == TRACE_REALLOC ? next.realloc(p, size) : next.reallocarray(p, count, size);
    if (unlikely(known && !q && count && size))
        block_stays(old);
    return got(q, op, product(count, size), 0, site);
}

#include "trace/family.h"

static inline void news_free(void *p, uintptr_t site) {
    if (!p || unlikely(early_owns(p)))
        return;
    gives(p, TRACE_FREE, site);
    next.free(p);
}

#include "trace/news.h"

static inline void *news_allocate_soon(size_t size, size_t alignment, uintptr_t site) {
    return news_allocate(size, alignment, site);
}

#include "../unwind/unload.h"

/* ── what the malloc maps ──────────────────────────────────────────────────── */

/* A malloc that asks the kernel by itself is not seen, nor is glibc's: the debugger then goes by where the
 * blocks lie. */
static bool is_of_malloc(uintptr_t site) {
    return is_ready() && site - next.start < next.size;
}

static void range_ends(void *at, size_t size) {
    if (!look())
        return;
    range_drop((uintptr_t)at, (uintptr_t)at + size);
    look_away();
}

static void range_begins(void *at, size_t size) {
    if (at == MAP_FAILED || !look())
        return;
    range_add((uintptr_t)at, (uintptr_t)at + size);
    look_away();
}

EXPORT void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    void *p = (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
    if ((flags & MAP_ANONYMOUS) && is_of_malloc(SITE))
        range_begins(p, size);
    return p;
}

/* The same function, whose name is a macro on musl. */
__asm__(".globl mmap64\n.set mmap64, mmap");

EXPORT int munmap(void *at, size_t size) {
    if (is_of_malloc(SITE))
        range_ends(at, size);
    return (int)syscall(SYS_munmap, at, size);
}

EXPORT void *mremap(void *at, size_t size, size_t wanted, int flags, ...) {
    va_list more;
    va_start(more, flags);
    void *where = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
    va_end(more);
    bool of_malloc = is_of_malloc(SITE);
    if (of_malloc)
        range_ends(at, size);
    void *p = (void *)syscall(SYS_mremap, at, size, wanted, flags, where);
    if (of_malloc && p == MAP_FAILED)
        range_begins(at, size);
    else if (of_malloc)
        range_begins(p, wanted);
    return p;
}
