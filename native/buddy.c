/* buddy.c: blocks of powers of two, split in halves and merged again.
 *
 * The idea: memory comes in regions of 2^n bytes that begin at a multiple of 2^n, and a region
 * is one block. A block splits into two halves, and these are buddies: their addresses differ
 * in one bit, the one that is worth their size. malloc rounds a size up to a power of two and
 * halves a free block until it is that small. free computes where the buddy lies, merges the
 * block with it if it is free, and goes on with the merged block. list.c finds the neighbours
 * of a chunk in its header; buddy.c computes their addresses, so a block has no header.
 *
 *      region.start
 *      ├───────┬───────┬───────────────┬───────────────────────────────┬─ ─ ─ ─ ─ ─ ─┤
 *      │ live  │ free  │ live          │ free                          │ away        │
 *      │ 2^15  │ 2^15  │ 2^16          │ 2^17                          │ 2^18        │
 *      └───────┴───────┴───────────────┴───────────────────────────────┴─ ─ ─ ─ ─ ─ ─┘
 *      0x00000 0x08000 0x10000         0x20000                         0x40000
 *          └ ^ 2^15 ┘                      a free block begins with the links of its list:
 *      └────── ^ 2^16 ─┘                   ┌──────┬──────┬───────────────────────┐
 *                                          │ next │ prev │                       │
 *      struct region, behind the blocks:   └──────┴──────┴───────────────────────┘
 *      tag[] a byte for every 16 bytes: 0, but where a
 *      block begins: n, and whether it is free
 *
 * A free block of 256 KiB (a chunk) or more is `away`: its memory was given back to the system,
 * and only its addresses are kept. Two free halves of a chunk merge only if a third half is free:
 * otherwise a program that frees its last block and allocates again would pay for a system call
 * and page faults each time (165 µs for a pair of calls; 0.08 µs like this).
 *
 * The price: malloc and free cost O(log n), if the heap has n bytes: at most one split or merge
 * for each doubling of the size. A size just above a power of two wastes nearly half of its
 * block, an average size a quarter. Tags take a sixteenth of the memory in use.
 *
 * What it lacks: sizes between the powers of two, and a lock that two threads need not share.
 * paged.c has four sizes to a doubling, and a lock for each.
 *
 *     cc -O2 -g -std=gnu17 -fPIC -fvisibility=hidden -fno-builtin -pthread -shared \
 *        -Wl,-Bsymbolic -o libmalloc-buddy.so native/buddy.c
 */
#include "heap.h"

LIBMALLOC_VARIANT(2.5, buddy);

#include "base/die.h"
#include "base/limit.h"
#include "base/lock.h"
#include "base/snapshot.h"

enum {
    LEAST = 4,   /* orders: a block of order n has 2^n bytes. 16 bytes hold two links */
    CHUNK = 18,  /* free blocks of this order and above have no memory */
    FIRST = 20,  /* the first region's order. Each later one is twice as large as the last */
    ORDERS = 48, /* 2^48 bytes are more than there are addresses for */
    FREE = 0x80, /* a tag: the order, and this if the block is free */
};

/* A free block begins with the links of the list of its order, which spans all regions. The
 * program may have written there after the free, so links are checked before they are used. */
struct block { struct block *next, *prev; };

/* The record of a region lies behind its last block. */
struct region {
    char *start;
    unsigned order;
    struct arena *arena;
    struct region *next; /* in address order */
    uint8_t tag[];
};

/* Locking: an arena's one lock, around everything. */
struct arena {
    struct lock lock;
    const char *call; /* the public function in progress */
    struct block *free[ORDERS];
    struct region *regions;
    unsigned next;       /* the order of the next region */
    bool trimmed;        /* no block became free since malloc_trim */
    struct arena *older; /* frozen at a fork (lock.h): readable, never changed */
};

static struct {
    struct arena *arena; /* the one in use */
    struct arena first;
} heap = {.arena = &heap.first, .first = {.lock = LOCK_FREE, .next = FIRST}};

static struct arena *arena_lock(const char *call) {
    struct arena *a = heap.arena;
    while (!lock_acquire(&a->lock))
        a = heap.arena;
    a->call = call;
    return a;
}

static void *arena_unlock(struct arena *a, void *result) {
    lock_release(&a->lock);
    return result;
}

static size_t bytes(unsigned tag) { return (size_t)1 << (tag % FREE); }

static unsigned order_of(size_t n) { return 64 - (unsigned)__builtin_clzl((n - !!n) | 15); }

/* The addresses of two buddies differ in one bit, the one that is worth their size. */
static char *buddy_of(char *p, unsigned order) { return (char *)((uintptr_t)p ^ bytes(order)); }

/* Each region is twice as large as the last one, so there are few. */
static struct region *region_of(struct arena *a, void *p) {
    struct region *r = a->regions;
    while (r && (uintptr_t)p - (uintptr_t)r->start >= bytes(r->order))
        r = r->next;
    return r;
}

static uint8_t *tag_of(struct region *r, char *p) { return r->tag + ((p - r->start) >> LEAST); }

static bool block_is_free(struct arena *a, void *p, unsigned order) {
    struct region *r = region_of(a, p);
    return r && (uintptr_t)p % bytes(LEAST) == 0 && *tag_of(r, p) == (FREE | order);
}

/* ── the check of every pointer that the program passes ────────────────────── */

/* `p` is no live block: dies with a message that says what it is. The block that holds it begins
 * where some low bits of the address are 0; the tags tell how many. */
static COLD void pointer_refuse(struct region *r, void *p, const char *call) {
    unsigned order = LEAST - 1, tag;
    must(r, call, "%p is not a block of this heap", p);
    char *block;
    do
        tag = *tag_of(r, block = (char *)((uintptr_t)p & -bytes(++order)));
    while (tag % FREE < order && order < r->order);
    must(!(tag & FREE), call, "%s of %p (in %zu free bytes)", freed_twice(call), p, bytes(tag));
    die(call, "%p is not a block: it lies %zu bytes into %p (%zu bytes)", p,
        (size_t)((char *)p - block), (void *)block, bytes(tag));
}

/* The region of a live block. If a fork has frozen the block's arena, it is in the list `older`. */
static struct region *block_check(struct arena *a, void *p, const char *call) {
    struct region *r = region_of(a, p);
    while (!r && (a = a->older))
        r = region_of(a, p);
    if (unlikely(!r || (uintptr_t)p % bytes(LEAST) || !*tag_of(r, p) || *tag_of(r, p) & FREE))
        pointer_refuse(r, p, call);
    return r;
}

/* ── free blocks: a list for each order ────────────────────────────────────── */

static void block_link(struct region *r, char *p, unsigned order) {
    struct block *b = (struct block *)p, **first = &r->arena->free[order];
    *b = (struct block){.next = *first};
    if (b->next)
        b->next->prev = b;
    *first = b;
    r->arena->trimmed = false;
    *tag_of(r, p) = (uint8_t)(FREE | order);
}

static bool block_is_linked(struct arena *a, struct block *b, unsigned order) {
    struct block *next = b->next, *prev = b->prev;
    return (!next || (block_is_free(a, next, order) && next->prev == b)) &&
           (prev ? block_is_free(a, prev, order) && prev->next == b : a->free[order] == b);
}

static void block_unlink(struct region *r, char *p, unsigned order) {
    struct block *b = (struct block *)p;
    must(block_is_linked(r->arena, b, order), r->arena->call,
         "%p, or other %zu free bytes, were written to after their free", (void *)p, bytes(order));
    *(b->prev ? &b->prev->next : &r->arena->free[order]) = b->next;
    if (b->next)
        b->next->prev = b->prev;
    *b = (struct block){0}; /* a block without memory must read as zero */
    *tag_of(r, p) = 0;
}

/* Makes a block of order `from` a live one of order `to`. The upper halves become free. */
static char *block_split(struct region *r, char *p, unsigned from, unsigned to) {
    while (from-- > to)
        block_link(r, buddy_of(p, from), from);
    *tag_of(r, p) = (uint8_t)to;
    return p;
}

/* Merges a block with its buddies as long as they are free, up to order `most`. The caller sets the
 * tag of the merged block. */
static char *block_merge(struct region *r, char *p, unsigned *order, unsigned most) {
    char *buddy;
    for (*tag_of(r, p) = 0; *order < most; p = buddy < p ? buddy : p, ++*order) {
        if (*tag_of(r, buddy = buddy_of(p, *order)) != (FREE | *order))
            break;
        block_unlink(r, buddy, *order);
    }
    return p;
}

/* ── memory from the system, and back ──────────────────────────────────────── */

/* Maps a region for a block of this order: a region of order `next`, or of a lower one if the
 * kernel refuses that many addresses (ulimit -v). */
static bool region_create(struct arena *a, unsigned order) {
    for (unsigned n = order > a->next ? order : a->next; n >= order && n >= CHUNK; n--) {
        size_t length = bytes(n) + (bytes(n) >> LEAST) + os_page_size();
        char *start = n < ORDERS ? os_map_aligned(length, bytes(n)) : os_refuse();
        if (!start)
            continue;
        struct region *r = (struct region *)(start + bytes(n)), **at = &a->regions;
        while (*at && *at < r)
            at = &(*at)->next;
        *r = (struct region){.start = start, .order = n, .arena = a, .next = *at};
        *at = r;
        a->next = n + 1;
        block_link(r, start, n);
        return true;
    }
    return false;
}

/* The memory that counts towards the limit for a live block: for a small one, its whole chunk. */
static size_t memory_of(unsigned order) { return bytes(order > CHUNK ? order : CHUNK); }

/* Gives pages back. If the kernel refuses (locked memory), clears them, because they must read as
 * zero afterwards. */
static void pages_purge(char *p, size_t size) {
    if (size && !os_purge(p, size))
        memset(p, 0, size);
}

/* ── the arena: halve a block that is large enough, merge one that is free ─── */

/* Only a block that was `away` is charged to the limit: smaller ones are parts of chunks in use. */
static char *arena_allocate(struct arena *a, size_t alignment, size_t size) {
    unsigned least = order_of(size > alignment ? size : alignment), from = least;
    while (from < ORDERS && !a->free[from])
        from++;
    if (from >= ORDERS)
        return region_create(a, least) ? arena_allocate(a, alignment, size) : NULL;
    if (from >= CHUNK && !limit_charge(memory_of(order_of(size))))
        return NULL;
    char *p = (char *)a->free[from];
    block_unlink(region_of(a, p), p, from);
    return block_split(region_of(a, p), p, from, order_of(size));
}

/* Small blocks merge up to half a chunk, or to a chunk if another half is free besides its own two.
 * The memory of a chunk is given back before it merges further. */
static void arena_free(struct region *r, char *p) {
    struct block *half = r->arena->free[CHUNK - 1];
    bool another = half && (half->next || ((uintptr_t)half ^ (uintptr_t)p) >> CHUNK);
    unsigned order = *tag_of(r, p);
    p = block_merge(r, p, &order, another ? CHUNK : CHUNK - 1);
    if (order >= CHUNK) {
        pages_purge(p, bytes(order));
        limit_refund(bytes(order));
        p = block_merge(r, p, &order, r->order);
    }
    block_link(r, p, order);
}

/* ── the contract ──────────────────────────────────────────────────────────── */

static void *heap_allocate_aligned(size_t alignment, size_t size) {
    struct arena *a = arena_lock("malloc");
    return arena_unlock(a, arena_allocate(a, alignment, size));
}

static void *heap_allocate(size_t size) {
    return size <= PTRDIFF_MAX ? heap_allocate_aligned(ALIGNMENT, size) : os_refuse();
}

static void *heap_allocate_zeroed(size_t size) {
    void *p = heap_allocate(size);
    return p && order_of(size) < CHUNK ? memset(p, 0, size) : p;
}

static void heap_free(void *p, const char *call) {
    struct arena *a = p ? arena_lock(call) : NULL;
    struct region *r = p ? block_check(a, p, call) : NULL;
    if (p && r->arena == a)
        arena_free(r, p);
    if (p)
        arena_unlock(a, NULL);
}

static size_t heap_usable(void *p, const char *call) {
    struct arena *a = arena_lock(call);
    size_t size = bytes(*tag_of(block_check(a, p, call), p));
    arena_unlock(a, NULL);
    return size;
}

/* A block that is large enough stays in place, and the upper halves that it does not need become
 * free. Their pages are purged first, because a free chunk has no memory; those of a block of less
 * than 64 KiB keep their memory until malloc_trim. */
static void *heap_resize(void *p, size_t size, const char *call) {
    struct arena *a = arena_lock(call);
    struct region *r = block_check(a, p, call);
    unsigned from = *tag_of(r, p), to = order_of(size);
    if (to <= from && r->arena == a) {
        char *rest = align_up((char *)p + size, os_page_size());
        pages_purge(rest, from < CHUNK - 2 ? 0 : (size_t)((char *)p + bytes(from) - rest));
        limit_refund(memory_of(from) - memory_of(to));
        return arena_unlock(a, block_split(r, p, from, to));
    }
    char *new = arena_allocate(a, ALIGNMENT, size);
    if (new && (r->arena != a || from < CHUNK || !os_move_out(p, bytes(from), new)))
        memcpy(new, p, size < bytes(from) ? size : bytes(from));
    if (new && r->arena == a)
        arena_free(r, p);
    return arena_unlock(a, new);
}

/* Gives back all pages of free blocks but the first, which holds the links. */
static size_t heap_trim(UNUSED size_t pad) {
    size_t given = 0, page = os_page_size();
    struct arena *a = arena_lock("malloc_trim");
    for (unsigned order = order_of(2 * page); order < CHUNK && !a->trimmed; order++)
        for (struct block *b = a->free[order]; b && block_is_linked(a, b, order); b = b->next)
            given += os_purge((char *)b + page, bytes(order) - page) ? bytes(order) - page : 0;
    a->trimmed = true;
    arena_unlock(a, NULL);
    return given;
}

static struct lock *heap_lock(unsigned i) { return i == 0 ? &heap.arena->lock : NULL; }

static bool heap_goes_on(void) { return true; }

/* The new arena's lock is free, because it is all zeros. */
static bool heap_freeze(void) {
    struct arena as = {.next = FIRST, .older = heap.arena}, *fresh = os_map(sizeof as);
    if (fresh)
        __atomic_store_n(&heap.arena, memcpy(fresh, &as, sizeof as), __ATOMIC_RELEASE);
    return fresh;
}

/* ── walk and check ────────────────────────────────────────────────────────── */

/* Visits all blocks in address order. A tag of 0 where a block should begin is damage: the rest
 * of that region is skipped. */
static void blocks_visit(void (*visit)(struct region *, char *, void *), void *arg) {
    struct arena *a = arena_lock("libmalloc_walk");
    for (struct region *r = a->regions; r; r = r->next)
        for (char *p = r->start; p < (char *)r && *tag_of(r, p); p += bytes(*tag_of(r, p)))
            visit(r, p, arg);
    arena_unlock(a, NULL);
}

static void block_snapshot(struct region *r, char *p, void *out) {
    unsigned tag = *tag_of(r, p);
    if (tag >= (FREE | CHUNK))
        return; /* a free block without memory */
    snapshot_region(out, p, bytes(tag));
    snapshot_block(out, tag & FREE ? LIBMALLOC_FREE : LIBMALLOC_LIVE, p, 0, bytes(tag), bytes(tag));
}

static void heap_snapshot(struct snapshot *out) { blocks_visit(block_snapshot, out); }

static void block_verify(struct region *r, char *p, void *out) {
    unsigned tag = *tag_of(r, p), order = tag % FREE;
    char *next = p + bytes(tag);
    bool tiles = (uintptr_t)p % bytes(tag) == 0 && (next == (char *)r || *tag_of(r, next));
    bool merged = order == CHUNK - 1 || order == r->order || *tag_of(r, buddy_of(p, order)) != tag;
    bool sound = !(tag & FREE) || (merged && block_is_linked(r->arena, (struct block *)p, order));
    expect(out, tiles && sound, "block %p: its tag %#x disagrees with others", (void *)p, tag);
}

static void heap_verify(struct findings *out) { blocks_visit(block_verify, out); }

static size_t heap_overhead(void) { return sizeof heap + (limit_taken >> LEAST); }

static bool heap_count(struct libmalloc_stats *s, bool patient) { return heap_tally(s, patient); }

#include "abi.h"
