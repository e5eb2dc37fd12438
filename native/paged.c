/* paged.c: pages straight from mmap, cut into blocks of equal size.
 *
 * The idea: sizes are rounded up to one of 48 classes. A class gets its memory in
 * spans, which are runs of pages cut into equal blocks, and lists those of its spans
 * that have room. In a span, a bit for each block says whether it is free. No header
 * stands in front of a block: all records lie elsewhere, and a table over the address
 * space leads from any pointer to the span that holds it. A large block is a span of
 * its own, mapped and unmapped alone.
 *
 *      span.start         span.size                            a multiple of 64 KiB
 *      ├──────┬──────┬──────┬──────┬──────────────────────────────────────┤
 *      │ live │ free │ live │ free │ fresh: never touched, costs no page   │
 *      └──────┴──────┴──────┴──────┴──────────────────────────────────────┘
 *        bit 0   bit 1         ▲
 *                              │ the bits are searched in two steps, so the first
 *      struct span ────────────┘ free block of 4,096 is found in two instructions
 *      summary  0000…0001        a bit for each word of `bits` that is not 0
 *      bits[0]  1111…1010        a bit for each block, 1 = free
 *
 *      a pointer, 48 bits:   16 bits         16 bits        16 bits
 *                            heap.leaves[]   leaf->spans[]  offset in 64 KiB
 *
 * The price: malloc and free cost O(1), however many blocks live: some 150
 * instructions each, four tenths of them for the lock. Rounding wastes at most a
 * fifth of a block from 65 bytes on (15 of 16 for one byte), less than 64 KiB of a
 * large one. Spans that become empty go back to the system, all but one a class.
 *
 * What it lacks: threads that use the same class wait for each other, and each malloc
 * and free of a large block is a system call. sharded.c gives every thread pages of its
 * own, and keeps freed memory for the next large block.
 *
 *     cc -O2 -g -std=gnu17 -fPIC -fvisibility=hidden -fno-builtin -pthread -shared \
 *        -Wl,-Bsymbolic -o libmalloc-paged.so native/paged.c
 */
#include "heap.h"

LIBMALLOC_VARIANT(3, paged);

#include "base/die.h"
#include "base/limit.h"
#include "base/lock.h"
#include "base/snapshot.h"

enum {
    GRANULE = 64 * 1024,     /* the table over the address space has an entry for each */
    LEAF = 1 << 16,          /* granules that a leaf covers: 4 GiB */
    LEAVES = 1 << 16,        /* leaves that cover the 48 bits of an address (47 on x86-64) */
    SMALL = 128 * 1024,      /* larger blocks get their own mapping */
    STEPS = 4,               /* classes from one power of two to the next */
    CLASSES = 8 + STEPS * 10,
    LARGE = CLASSES,         /* the class of blocks with their own mapping */
    SPAN_BLOCKS = 8,         /* a span has at least so many blocks */
};

struct span {
    struct class *class;      /* never changes, see the rules of locking */
    char *start;
    size_t length;            /* of the mapping, a multiple of GRANULE */
    size_t size;              /* of a block */
    uint64_t inverse;         /* 2^32 / size, rounded up: divides by multiplying */
    struct span *next, *prev; /* in the class's list of spans with room */
    uint32_t capacity;        /* blocks in all */
    uint32_t used;            /* live ones */
    uint32_t fresh;           /* blocks of this number and above were never handed out */
    uint64_t summary;         /* which words of `bits` are not 0 */
    uint64_t bits[];          /* which blocks are free, fresh ones included */
};

/* Locking: 1. A class's lock guards its spans and all that is in them. 2. An
 * arena's lock guards the memory that records are cut from; it is taken inside a
 * class's, never the other way round. 3. The table is read without a lock: the entry
 * for a valid pointer was made before the pointer was handed out, and what is found
 * for any pointer is checked again under the class's lock. Records are never unmapped
 * and never change their class, so even a stale one can be read. */
struct class {
    _Alignas(64) struct lock lock;
    struct arena *arena;
    struct span *room;    /* spans with a free block */
    struct span *retired; /* records to use again, linked by next */
    uint32_t empty, kept; /* spans without a live block, and how many of them may stay */
};

struct arena {
    struct lock lock;
    char *records, *records_end; /* mapped, for struct span */
    size_t records_used;         /* bytes */
    struct arena *older;         /* frozen at a fork (lock.h) */
    struct class classes[CLASSES + 1];
};

struct leaf {
    _Atomic(struct span *) spans[LEAF];
};

static struct {
    _Atomic(struct arena *) arena; /* the one in use; NULL until the first call */
    _Atomic(struct leaf *) leaves[LEAVES];
} heap;

static struct span gone; /* the table's entry where a span was unmapped */

/* ── the table over the address space ──────────────────────────────────────── */

static _Atomic(struct span *) *leaf_entry(struct leaf *leaf, uintptr_t address) {
    return &leaf->spans[address / GRANULE % LEAF];
}

/* The span that holds this address; NULL or &gone when none does. */
static struct span *table_find(void *p) {
    uintptr_t address = (uintptr_t)p;
    if (unlikely(address / GRANULE / LEAF >= LEAVES))
        return NULL;
    struct leaf *leaf = atomic_load_explicit(&heap.leaves[address / GRANULE / LEAF],
                                             memory_order_acquire);
    return leaf ? atomic_load_explicit(leaf_entry(leaf, address), memory_order_acquire) : NULL;
}

static bool table_has_leaf(uintptr_t address) {
    _Atomic(struct leaf *) *slot = &heap.leaves[address / GRANULE / LEAF];
    struct leaf *leaf = NULL, *mine;
    if (atomic_load(slot))
        return true;
    if (!(mine = os_map(sizeof *mine)))
        return false;
    if (!atomic_compare_exchange_strong(slot, &leaf, mine))
        os_unmap(mine, sizeof *mine); /* another thread was faster */
    return true;
}

static void table_set(char *start, size_t length, struct span *s) {
    for (char *p = start; p < start + length; p += GRANULE)
        atomic_store_explicit(leaf_entry(heap.leaves[(uintptr_t)p / GRANULE / LEAF], (uintptr_t)p),
                              s, memory_order_release);
}

/* Enters the granules of a span; of a large block only the first, because no other
 * address in it is a valid pointer. False if there is no memory for a leaf. */
static size_t span_table_bytes(struct span *s);
static bool table_enter(struct span *s) {
    char *last = s->start + span_table_bytes(s) - 1;
    if (!table_has_leaf((uintptr_t)s->start) || !table_has_leaf((uintptr_t)last))
        return false;
    table_set(s->start, span_table_bytes(s), s);
    return true;
}

/* ── classes and arenas ────────────────────────────────────────────────────── */

/* 16, 32, … 128, then four to each doubling: 160, 192, 224, 256, 320, … */
static unsigned class_index(size_t size) {
    if (size <= 128)
        return (unsigned)(size - !!size) / 16;
    unsigned log = 63 - (unsigned)__builtin_clzl(size - 1);
    return 8 + (log - 7) * STEPS + (unsigned)((size - 1) >> (log - 2)) % STEPS;
}

static size_t class_size(unsigned index) {
    if (index < 8)
        return 16 * (index + 1);
    size_t base = 128ul << (index - 8) / STEPS;
    return base + base / STEPS * ((index - 8) % STEPS + 1);
}

static struct arena *arena_make(struct arena *older) {
    struct arena *a = os_map(sizeof *a);
    if (!a)
        return NULL;
    a->lock = (struct lock)LOCK_FREE;
    a->older = older;
    for (unsigned i = 0; i <= LARGE; i++)
        a->classes[i] = (struct class){.lock = LOCK_FREE, .arena = a, .kept = i < LARGE};
    return a;
}

static COLD struct arena *arena_first(void) {
    struct arena *none = NULL, *mine = arena_make(NULL);
    if (mine && !atomic_compare_exchange_strong(&heap.arena, &none, mine))
        os_unmap(mine, sizeof *mine);
    return heap.arena;
}

static inline struct arena *arena_now(void) {
    struct arena *a = atomic_load_explicit(&heap.arena, memory_order_acquire);
    return likely(a) ? a : arena_first();
}

/* Locks and returns a class of the arena in use; NULL with errno ENOMEM. */
static inline struct class *class_lock(unsigned index) {
    struct arena *a;
    do
        if (unlikely(!(a = arena_now())))
            return NULL;
    while (unlikely(!lock_acquire(&a->classes[index].lock)));
    return &a->classes[index];
}

static inline void class_unlock(struct class *class) { lock_release(&class->lock); }

static inline bool class_is_frozen(struct class *class) {
    return class->arena != atomic_load_explicit(&heap.arena, memory_order_relaxed);
}

/* ── spans ─────────────────────────────────────────────────────────────────── */

static bool span_is_large(struct span *s) { return s->inverse == 0; }
static size_t span_table_bytes(struct span *s) { return span_is_large(s) ? GRANULE : s->length; }
static uint32_t span_words(uint32_t capacity) { return (capacity + 63) / 64; }

static bool block_is_free(struct span *s, uint32_t block) {
    return s->bits[block / 64] >> block % 64 & 1;
}

static void span_link(struct span *s) {
    s->prev = NULL;
    s->next = s->class->room;
    if (s->next)
        s->next->prev = s;
    s->class->room = s;
}

static void span_unlink(struct span *s) {
    *(s->prev ? &s->prev->next : &s->class->room) = s->next;
    if (s->next)
        s->next->prev = s->prev;
}

/* A record for a span of this class: a retired one, or a new one. */
static struct span *span_record(struct class *class, uint32_t capacity) {
    struct span *s = class->retired;
    if (s) {
        class->retired = s->next;
        return s;
    }
    struct arena *a = class->arena;
    size_t size = sizeof *s + span_words(capacity) * sizeof s->bits[0];
    if (!lock_acquire_inner(&a->lock))
        return NULL;
    if ((size_t)(a->records_end - a->records) < size && (s = os_map(GRANULE))) {
        a->records = (char *)s;
        a->records_end = a->records + GRANULE;
    }
    if ((s = (size_t)(a->records_end - a->records) < size ? NULL : (struct span *)a->records)) {
        a->records += size;
        a->records_used += size;
        s->class = class;
    }
    lock_release(&a->lock);
    return s;
}

/* Retires the record of an empty span, for the class's next span. */
static void span_forget(struct span *s) {
    s->length = 0; /* a thread that still finds it sees that no block lies in it */
    s->class->empty--;
    span_unlink(s);
    s->next = s->class->retired;
    s->class->retired = s;
}

static void span_clear(struct span *s) {
    s->used = s->fresh = 0;
    uint32_t words = span_words(s->capacity);
    s->summary = ~0ull >> (64 - words);
    memset(s->bits, 0xff, words * sizeof s->bits[0]);
    if (s->capacity % 64)
        s->bits[words - 1] = ~0ull >> (64 - s->capacity % 64);
}

/* Gives an empty span back. The table forgets it first, because once it is unmapped,
 * another thread may map and enter the same address. If the kernel refuses another hole
 * in the mappings, the span stays, and only its pages are given back. */
static COLD void span_release(struct span *s) {
    table_set(s->start, span_table_bytes(s), &gone);
    if (limit_unmap(s->start, s->length)) {
        span_forget(s);
        return;
    }
    os_purge(s->start, s->length);
    span_clear(s);
    table_set(s->start, span_table_bytes(s), s);
}

/* Maps an empty span for blocks that hold `size` bytes. A large block has a span of its
 * own, whose `inverse` is 0: then span_check accepts only the address of the span. */
static COLD struct span *span_create(struct class *class, size_t alignment, size_t size) {
    bool large = size > SMALL;
    if (large && class->room) /* a span that could not be unmapped when it was freed: try again */
        span_release(class->room);
    if (!large)
        size = class_size((unsigned)(class - class->arena->classes));
    size_t length = round_up(large ? size : size * SPAN_BLOCKS, GRANULE);
    char *start = limit_map(length, alignment, 0);
    struct span *s = start ? span_record(class, large ? 1 : (uint32_t)(length / size)) : NULL;
    if (s) {
        s->start = start;
        s->length = length;
        s->size = large ? length : size;
        s->inverse = large ? 0 : ((1ull << 32) + size - 1) / size;
        s->capacity = (uint32_t)(length / s->size);
        span_clear(s);
        class->empty++;
        span_link(s);
        if (table_enter(s))
            return s;
        span_forget(s);
    }
    if (start)
        limit_unmap(start, length);
    return NULL;
}

/* Takes the first free block; `*fresh` says that it was never handed out, so it is zero. */
static inline char *span_allocate(struct span *s, bool *fresh) {
    uint32_t word = (uint32_t)__builtin_ctzll(s->summary);
    uint32_t block = word * 64 + (uint32_t)__builtin_ctzll(s->bits[word]);
    if (!(s->bits[word] &= s->bits[word] - 1))
        s->summary &= s->summary - 1;
    if ((*fresh = block >= s->fresh))
        s->fresh = block + 1;
    if (s->used++ == 0)
        s->class->empty--;
    if (unlikely(s->used == s->capacity))
        span_unlink(s);
    return s->start + block * s->size;
}

static inline void span_free(struct span *s, uint32_t block) {
    s->bits[block / 64] |= 1ull << block % 64;
    s->summary |= 1ull << block / 64;
    if (unlikely(s->used == s->capacity))
        span_link(s);
    if (unlikely(--s->used == 0) && s->class->empty++ >= s->class->kept)
        span_release(s);
}

/* ── the check of every pointer that the program passes ────────────────────── */

/* The number of the live block at p. If there is none, dies and says what p is instead. */
static inline uint32_t span_check(struct span *s, void *p, const char *call) {
    size_t offset = (size_t)((char *)p - s->start);
    uint32_t block = (uint32_t)(offset * s->inverse >> 32);
    size_t into = offset - block * s->size;
    must(into == 0, call, "%p is not a block: it lies %zu bytes into %p (%zu bytes)", p, into,
         (void *)((char *)p - into), s->size);
    must(block < s->fresh, call, "%p is not a block: it was never handed out", p);
    must(!block_is_free(s, block), call, "%s of %p (%zu bytes)", freed_twice(call),
         p, s->size);
    return block;
}

/* Dies, because no span is entered for this address. A search is affordable here: it looks
 * whether a large block begins before the address and contains it. */
static COLD void pointer_refuse(char *p, struct span *found, const char *call) {
    must(found != &gone, call, "%s of %p (its memory went back to the system)", freed_twice(call),
         (void *)p);
    uintptr_t address = (uintptr_t)p;
    if (address / GRANULE / LEAF < LEAVES)
        for (uintptr_t i = address / GRANULE + 1; i-- > 0;) {
            if (!heap.leaves[i / LEAF]) {
                i -= i % LEAF; /* none in these 4 GiB */
                continue;
            }
            struct span *s = table_find((void *)(i * GRANULE));
            if (!s || s == &gone)
                continue;
            must(p >= s->start + s->length, call,
                 "%p is not a block: it lies %zu bytes into %p (%zu bytes)", (void *)p,
                 (size_t)(p - s->start), (void *)s->start, s->size);
            break;
        }
    die(call, "%p is not a block of this heap", (void *)p);
}

/* Finds the span of a block and locks its class. If a fork froze the block's arena,
 * returns NULL, and the span in `*frozen`: no thread changes it any more. */
static inline struct span *span_lock(void *p, const char *call, struct span **frozen) {
    for (;;) {
        struct span *s = table_find(p);
        if (unlikely(!s || s == &gone))
            pointer_refuse(p, s, call);
        if (unlikely(class_is_frozen(s->class)))
            return *frozen = s, NULL;
        if (unlikely(!lock_acquire(&s->class->lock)))
            continue;
        if (likely((uintptr_t)p - (uintptr_t)s->start < s->length))
            return s;
        class_unlock(s->class); /* another thread has just freed it */
    }
}

/* ── large blocks ──────────────────────────────────────────────────────────── */

/* Moves the pages of a block that cannot grow in place to a longer mapping. */
static bool large_move(struct span *s, size_t length) {
    char *to = limit_map(length, GRANULE, s->length), *from = s->start;
    if (!to)
        return false;
    table_set(from, GRANULE, &gone);
    if (table_has_leaf((uintptr_t)to) && os_move(from, s->length, to, length)) {
        s->start = to;
        s->length = length;
        table_set(to, GRANULE, s);
        return true;
    }
    table_set(from, GRANULE, s);
    os_unmap(to, length);
    limit_refund(length - s->length);
    return false;
}

/* Resizes a large block. Returns its new address; NULL if it must be copied. */
static void *large_resize(struct span *s, size_t size) {
    size_t length = round_up(size, GRANULE);
    if (length < s->length && limit_unmap(s->start + length, s->length - length))
        s->length = length;
    else if (length > s->length && limit_resize(s->start, s->length, length))
        s->length = length;
    else if (length > s->length && !large_move(s, length))
        return NULL;
    s->size = s->length;
    return s->start;
}

/* ── the contract ──────────────────────────────────────────────────────────── */

/* Allocates a block of this class, from a span with room or a new one. Before it refuses, it
 * gives the kept empty spans back, and tries once more. */
static inline void *class_allocate(unsigned index, size_t alignment, size_t size, bool *fresh) {
    for (;;) {
        struct class *class = class_lock(index);
        if (unlikely(!class))
            return NULL;
        struct span *s = class->room;
        if (unlikely(!s || index == LARGE))
            s = span_create(class, alignment, size);
        char *p = likely(s) ? span_allocate(s, fresh) : NULL;
        class_unlock(class);
        if (likely(p))
            return p;
        if (!heap_trim(0) && !class_is_frozen(class)) /* frozen just now: try the fresh arena */
            return NULL;
    }
}

static inline void *allocate_block(size_t size, bool *fresh) {
    return class_allocate(unlikely(size > SMALL) ? LARGE : class_index(size), GRANULE, size, fresh);
}

static void *heap_allocate(size_t size) {
    bool fresh;
    return size <= PTRDIFF_MAX ? allocate_block(size, &fresh) : os_refuse();
}

/* Memory that the kernel has just provided is zero already. */
static void *heap_allocate_zeroed(size_t size) {
    bool fresh;
    void *p = allocate_block(size, &fresh);
    return p && !fresh ? memset(p, 0, size) : p;
}

/* A span begins at a multiple of 64 KiB, so if the alignment divides the block size, it
 * divides the addresses of all blocks. Takes the first such class that is large enough. */
static void *heap_allocate_aligned(size_t alignment, size_t size) {
    bool fresh;
    if (alignment <= GRANULE && size <= SMALL)
        for (unsigned i = class_index(size); i < CLASSES; i++)
            if (class_size(i) % alignment == 0)
                return class_allocate(i, GRANULE, size, &fresh);
    if (size <= SMALL)
        size = SMALL + 1;
    return class_allocate(LARGE, alignment > GRANULE ? alignment : GRANULE, size, &fresh);
}

static void heap_free(void *p, const char *call) {
    struct span *frozen, *s = p ? span_lock(p, call, &frozen) : NULL;
    if (unlikely(!s))
        return;
    struct class *class = s->class;
    span_free(s, span_check(s, p, call));
    class_unlock(class);
}

static size_t heap_usable(void *p, const char *call) {
    struct span *frozen = NULL, *s = span_lock(p, call, &frozen);
    if (!s)
        return frozen->size;
    span_check(s, p, call);
    size_t size = s->size;
    class_unlock(s->class);
    return size;
}

/* A small block stays in place if it is large enough, and at least half of it is used. */
static void *span_resize(struct span *s, void *p, size_t size) {
    if (span_is_large(s) && size > SMALL)
        return large_resize(s, size);
    return size <= s->size && size >= s->size / 2 ? p : NULL;
}

static void *heap_resize(void *p, size_t size, const char *call) {
    struct span *frozen = NULL, *s = span_lock(p, call, &frozen);
    size_t old = (s ? s : frozen)->size;
    if (s) {
        span_check(s, p, call);
        void *resized = span_resize(s, p, size);
        class_unlock(s->class);
        if (resized)
            return resized;
    }
    void *new = heap_allocate(size);
    if (!new)
        return size <= old ? p : NULL; /* a smaller block can stay in place */
    memcpy(new, p, size < old ? size : old);
    if (s)
        heap_free(p, call);
    return new;
}

/* Gives back the spans that are kept empty. `pad` has no meaning, because this heap has no end. */
static size_t heap_trim(size_t pad) {
    (void)pad;
    size_t given = 0;
    for (unsigned i = 0; i <= LARGE; i++) {
        struct class *class = class_lock(i);
        if (!class)
            break;
        for (struct span *s = class->room, *next; s; s = next) {
            next = s->next;
            if (s->used == 0) {
                given += s->length;
                span_release(s);
            }
        }
        class_unlock(class);
    }
    return given;
}

static struct lock *heap_lock(unsigned i) {
    struct arena *a = heap.arena;
    if (!a || i > LARGE + 1)
        return NULL;
    return i <= LARGE ? &a->classes[i].lock : &a->lock;
}

static bool heap_goes_on(void) { return true; }

/* A block is frozen if its span's class belongs to another arena than the one in use, so a
 * fresh arena freezes all blocks at once. */
static bool heap_freeze(void) {
    struct arena *fresh = arena_make(heap.arena);
    if (fresh)
        heap.arena = fresh;
    return fresh;
}

/* ── walk and check ────────────────────────────────────────────────────────── */

/* Visits the spans of the arena in use, in address order, each under its lock. */
static void spans_visit(void (*visit)(struct span *, void *), void *arg) {
    for (uintptr_t granule = 0; granule / LEAF < LEAVES; granule++) {
        if (!heap.leaves[granule / LEAF]) {
            granule += LEAF - 1; /* none in these 4 GiB */
            continue;
        }
        void *p = (void *)(granule * GRANULE);
        struct span *s = table_find(p);
        if (!s || s == &gone || class_is_frozen(s->class) || !lock_acquire(&s->class->lock))
            continue;
        if (table_find(p) == s) {
            visit(s, arg);
            granule += s->length / GRANULE - 1;
        }
        class_unlock(s->class);
    }
}

static void span_snapshot(struct span *s, void *arg) {
    struct snapshot *out = arg;
    uint32_t size_class = s->class->arena->classes + LARGE == s->class ? 0 : (uint32_t)s->size;
    snapshot_region(out, s->start, s->length);
    snapshot_add(out, (struct libmalloc_chunk){.start = s->start,
                                               .extent = s->length,
                                               .kind = LIBMALLOC_SPAN,
                                               .size_class = size_class});
    for (uint32_t i = 0; i < s->fresh; i++)
        snapshot_block(out, block_is_free(s, i) ? LIBMALLOC_FREE : LIBMALLOC_LIVE,
                       s->start + i * s->size, 0, s->size, size_class);
    snapshot_fresh(out, s->start + s->fresh * s->size, s->start + s->length);
}

static void heap_snapshot(struct snapshot *out) { spans_visit(span_snapshot, out); }

static void span_verify(struct span *s, void *out) {
    uint32_t frees = 0;
    uint64_t summary = 0;
    for (uint32_t i = 0; i < span_words(s->capacity); i++) {
        frees += (uint32_t)__builtin_popcountll(s->bits[i]);
        summary |= (uint64_t)(s->bits[i] != 0) << i;
    }
    void *start = s->start;
    expect(out, frees + s->used == s->capacity, "span %p: %u free + %u live are not %u blocks",
           start, frees, s->used, s->capacity);
    expect(out, summary == s->summary, "span %p: the summary is not that of its bits", start);
    expect(out, s->used <= s->fresh && s->fresh <= s->capacity,
           "span %p: %u live, %u ever handed out, of %u blocks", start, s->used, s->fresh,
           s->capacity);
    expect(out, s->used == s->capacity || (s->prev ? s->prev->next : s->class->room) == s,
           "span %p: has room, but is missing from its class's list", start);
}

static bool heap_count(struct libmalloc_stats *s, bool patient) { return heap_tally(s, patient); }

static void heap_verify(struct findings *out) { spans_visit(span_verify, out); }

static size_t heap_overhead(void) {
    struct arena *a = heap.arena;
    return sizeof heap + (a ? sizeof *a + a->records_used : 0);
}

#include "abi.h"
