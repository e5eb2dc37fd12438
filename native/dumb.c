/* dumb.c: sbrk and never look back.
 *
 * The idea: memory comes from the end of the heap, one block after the other, all
 * of one size. Nothing is remembered about a block, so nothing can be taken back.
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
 * then it gets an ordinary block and the program writes over the next ones, as in
 * a first attempt at malloc. LIBMALLOC_BLOCK=1024 LIBMALLOC_OVERRUN=1 is that one.
 *
 * What it lacks: sizes, and a memory of what was freed. list.c adds both.
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
    char *start, *end; /* everything ever handed out lies between */
    bool frozen;       /* at a fork (lock.h) */
} heap = {.lock = LOCK_FREE};

/* Before libc has set up the environment (the dynamic linker allocates earlier
 * than any constructor runs) there is nothing to read yet, so look again later. */
static void knobs_read(void) {
    const char *block = secure_getenv("LIBMALLOC_BLOCK");
    const char *overrun = secure_getenv("LIBMALLOC_OVERRUN");
    char *rest = NULL;
    unsigned long wanted = block ? strtoul(block, &rest, 10) : 0;
    bool valid = block && *rest == '\0' && wanted > 0 && wanted <= PTRDIFF_MAX / 2;
    heap.block = round_up(valid ? wanted : BLOCK, ALIGNMENT);
    heap.overrun = overrun && strcmp(overrun, "1") == 0;
}

/* Steps the break to `alignment`, then by one block; once more if somebody else moved
 * it in between. */
static void *block_take(size_t alignment) {
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
    while (!lock_take(&heap.lock)) {
    }
    if (!heap.block || !heap.start)
        knobs_read();
    void *p = size <= heap.block || heap.overrun ? block_take(alignment) : os_refuse();
    lock_drop(&heap.lock);
    return p;
}

static void *heap_allocate(size_t size) {
    return size <= PTRDIFF_MAX ? heap_allocate_aligned(ALIGNMENT, size) : os_refuse();
}

/* The break gives zeroes, unless somebody else moved it back and forth. Of an
 * overrunning request only the block is ours to clear. */
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

/* No memory of blocks: all that can be said is where they lie. */
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

/* There is nothing that could be half done but the move of the break itself, which
 * goes on when a signal handler forked: from now on blocks are mapped. */
static bool heap_freeze(void) {
    heap.lock.lost = false;
    return heap.frozen = true;
}

#include "abi.h"
