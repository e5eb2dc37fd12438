/* dumb.c: sbrk and never look back.
 *
 * The idea: memory comes from the end of the heap, one block after the other, all
 * of one size. There is no record of a block, so free cannot take it back.
 *
 *     heap.start                                            the program break
 *     │                                                             │
 *     ├───────────┬───────────┬───────────┬───────────┬───────────┬─┤
 *     │ BLOCK     │ BLOCK     │ BLOCK     │ BLOCK     │ BLOCK     │→│ sbrk
 *     └───────────┴───────────┴───────────┴───────────┴───────────┴─┘
 *
 * The price: one system call for each malloc, whatever n is; free costs nothing
 * and gives nothing. realloc copies a whole block, because it knows no sizes.
 *
 * Two knobs. LIBMALLOC_BLOCK is the size of a block in bytes; the default suffices
 * for today's ls. A larger request is refused (ENOMEM), unless LIBMALLOC_OVERRUN=1:
 * then it gets an ordinary block, and the program writes over the next ones. With
 * LIBMALLOC_BLOCK=1024 LIBMALLOC_OVERRUN=1, it is the first attempt at malloc that
 * articles print.
 *
 * What it lacks: sizes, and a record of which blocks are free. list.c adds both.
 *
 *     cc -O2 -g -std=gnu17 -fPIC -fvisibility=hidden -fno-builtin -pthread -shared \
 *        -Wl,-Bsymbolic -o libmalloc-dumb.so native/dumb.c
 */
#include "heap.h"

LIBMALLOC_VARIANT(1, dumb);

#include "base/die.h"
#include "base/limit.h"
#include "base/lock.h"
#include "base/snapshot.h"

enum { BLOCK = 64 * 1024 };

/* Locking: one lock, around every move of the break. */
static struct {
    struct lock lock;
    size_t block;      /* bytes of every block; 0 until the first call */
    bool overrun;      /* a larger request gets an ordinary block */
    char *start, *end; /* all blocks lie between */
    bool frozen;       /* at a fork (lock.h) */
} heap = {.lock = LOCK_FREE};

/* The dynamic linker allocates before libc has set up the environment, so the caller
 * repeats this until the first block was handed out. */
static void knobs_read(void) {
    const char *block = secure_getenv("LIBMALLOC_BLOCK");
    const char *overrun = secure_getenv("LIBMALLOC_OVERRUN");
    char *rest = NULL;
    unsigned long wanted = block ? strtoul(block, &rest, 10) : 0;
    bool valid = block && *rest == '\0' && wanted > 0 && wanted <= PTRDIFF_MAX / 2;
    heap.block = round_up(valid ? wanted : BLOCK, ALIGNMENT);
    heap.overrun = overrun && strcmp(overrun, "1") == 0;
}

/* Moves the break to a multiple of `alignment`, then by one block; again if the program
 * moved it in between. */
static void *block_allocate(size_t alignment) {
    char *now, *p, *old;
    if (unlikely(heap.frozen))
        return limit_map(round_up(heap.block, os_page_size()), alignment, 0);
    do {
        now = os_break(0);
        p = align_up(now, alignment);
        if (!(old = limit_break(p - now + (intptr_t)heap.block)))
            return NULL;
    } while (old != now);
    if (!heap.start)
        heap.start = p;
    heap.end = p + heap.block;
    return p;
}

static void *heap_allocate_aligned(size_t alignment, size_t size) {
    while (!lock_acquire(&heap.lock)) {
    }
    if (!heap.block || !heap.start)
        knobs_read();
    void *p = size <= heap.block || heap.overrun ? block_allocate(alignment) : os_refuse();
    lock_release(&heap.lock);
    return p;
}

static void *heap_allocate(size_t size) {
    return size <= PTRDIFF_MAX ? heap_allocate_aligned(ALIGNMENT, size) : os_refuse();
}

/* Clears the block, because memory from the break need not be zero if the program moved it
 * back and forth. If the request is larger than a block, clears one block, and no more. */
static void *heap_allocate_zeroed(size_t size) {
    void *p = heap_allocate(size);
    return p ? memset(p, 0, size < heap.block ? size : heap.block) : NULL;
}

static void heap_free(void *p, const char *call) {
    (void)p, (void)call; /* never look back */
}

static void *heap_resize(void *p, size_t size, const char *call) {
    (void)call;
    void *new = heap_allocate(size);
    return new ? memcpy(new, p, heap.block) : NULL;
}

static size_t heap_usable(void *p, const char *call) {
    (void)p, (void)call;
    return heap.block;
}

static size_t heap_trim(size_t pad) {
    (void)pad;
    return 0;
}

/* There is no record of single blocks, so they are shown as one. */
static void heap_snapshot(struct snapshot *out) {
    if (!heap.start)
        return;
    size_t extent = (size_t)(heap.end - heap.start);
    snapshot_region(out, heap.start, extent);
    snapshot_block(out, LIBMALLOC_LIVE, heap.start, 0, extent, 0);
}

static void heap_verify(struct findings *out) {
    expect(out, heap.start <= heap.end, "the heap starts at %p and ends at %p", (void *)heap.start,
           (void *)heap.end);
}

static size_t heap_overhead(void) { return 0; }

static bool heap_count(struct libmalloc_stats *s, bool patient) { return heap_tally(s, patient); }

static struct lock *heap_lock(unsigned i) { return i == 0 ? &heap.lock : NULL; }

static bool heap_goes_on(void) { return os_break_obeys(); }

/* A call that a signal handler interrupted may be moving the break, and will continue to,
 * so from now on blocks are mapped instead. */
static bool heap_freeze(void) {
    heap.lock.lost = false;
    return heap.frozen = true;
}

#include "abi.h"
