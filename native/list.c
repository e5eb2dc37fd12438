/* list.c: a doubly linked list of chunks on the program break.
 *
 * The idea: in front of every block stands a header that knows its neighbours, its
 * size, and whether it is free. malloc walks from the start to the first free chunk
 * that is large enough (first fit), splits what is left over, and moves the program
 * break when there is none. free merges a chunk with free neighbours on both sides
 * and gives the tail of the heap back to the system.
 *
 *      arena.start                                              arena.end
 *      │                                                            │ = program break
 *      ├────────┬───────────┬────────┬──────┬────────┬──────────────┤
 *      │ header │ data      │ header │ data │ header │ data         │
 *      │ live   │ 48        │ free   │ 32   │ live   │ 112          │
 *      └─┬────▲─┴───────────┴─┬────▲─┴──────┴─┬────▲─┴──────────────┘
 *   ┌────▼─┐  └─── next/prev ─┘    └──────────┘    │
 *   │ sen- │◄───────────────────────────────────────┐ the list is a ring: the sentinel
 *   │ tinel│────────────────────────────────────────┘ comes after the last, before the first
 *   └──────┘
 *
 * The price: malloc walks all chunks, so a call costs O(n) with n chunks alive and a
 * program O(n²); free, and the check of the pointer that it is given, cost O(1).
 * A header takes 32 bytes.
 *
 * What it lacks: a way to find a free chunk without walking past all others, and a
 * lock that two threads need not share. paged.c adds both.
 *
 *     cc -O2 -g -std=gnu17 -fPIC -fvisibility=hidden -fno-builtin -pthread -shared \
 *        -Wl,-Bsymbolic -o libmalloc-list.so native/list.c
 */
#include "heap.h"

LIBMALLOC_VARIANT(2, list);

#include "base/die.h"
#include "base/limit.h"
#include "base/lock.h"
#include "base/snapshot.h"

struct chunk {
    struct chunk *next, *prev; /* in address order, both ways round the sentinel */
    size_t size;               /* bytes of data, a multiple of 16 */
    size_t free;               /* 1 or 0: anything else was not written by us */
    char data[];
};
static_assert(sizeof(struct chunk) == 32 && offsetof(struct chunk, data) % ALIGNMENT == 0,
              "a header keeps the data behind it aligned");

enum {
    HEADER = sizeof(struct chunk),
    LEAST = ALIGNMENT,    /* data bytes of the smallest chunk */
    STEP = 64 * 1024,     /* of the break: a system call for each chunk costs more than the walk */
    TAIL_KEPT = 2 * STEP, /* a free tail up to this size stays */
};
#define OWN_BREAK (64ul << 30) /* addresses, not memory; fewer if addresses are limited */

static size_t data_size(size_t size) { return size ? round_up(size, ALIGNMENT) : LEAST; }

/* The chunks of one list. The program may move the break, too: then two chunks that are
 * neighbours in the list are not neighbours in memory, and never merge. */
struct arena {
    struct lock lock;
    struct chunk *sentinel;
    char *start, *end;   /* everything ours lies between */
    struct arena *older; /* frozen at a fork (lock.h): readable, never changed */
    char *top, *limit;   /* of its own break, if it took over at a fork; else NULL */
};

static struct chunk first_sentinel = {.next = &first_sentinel, .prev = &first_sentinel};
/* Locking: the arena's one lock, around everything. */
static struct {
    struct arena *arena; /* the one in use */
    struct arena first;
} heap = {.arena = &heap.first, .first = {.lock = LOCK_FREE, .sentinel = &first_sentinel}};

static struct arena *arena_lock(void) {
    struct arena *a;
    do
        a = heap.arena;
    while (!lock_acquire(&a->lock));
    return a;
}

static void arena_unlock(struct arena *a) { lock_release(&a->lock); }

static struct chunk *chunk_of(void *data) { return (struct chunk *)data - 1; }
static char *chunk_end(struct chunk *c) { return c->data + c->size; }

/* The next chunk, if it is free and begins where this one ends; else NULL. */
static struct chunk *chunk_free_next(struct arena *a, struct chunk *c) {
    bool touches = c->next != a->sentinel && chunk_end(c) == (char *)c->next;
    return touches && c->next->free ? c->next : NULL;
}

/* ── the check of every pointer that the program passes ────────────────────── */

/* Can a header lie here? If so, it can be read without a fault. */
static bool arena_holds(struct arena *a, struct chunk *c) {
    size_t offset = (uintptr_t)c - (uintptr_t)a->start, all = (size_t)(a->end - a->start);
    return all >= HEADER && offset <= all - HEADER && (uintptr_t)c % ALIGNMENT == 0;
}

/* Is this a chunk? Its neighbours must link to it, and it must end before the next one
 * begins. Data that looks like a header passes only if it forges all of that. */
static bool chunk_is_sound(struct arena *a, struct chunk *c) {
    if (!arena_holds(a, c) || (c->next != a->sentinel && !arena_holds(a, c->next)) ||
        (c->prev != a->sentinel && !arena_holds(a, c->prev)))
        return false;
    char *limit = c->next == a->sentinel ? a->end : (char *)c->next;
    return c->next->prev == c && c->prev->next == c && c->free <= 1 && c->data <= limit &&
           c->size <= (size_t)(limit - c->data) && c->size % ALIGNMENT == 0;
}

/* Checks each header on a walk. A release build cannot afford that. */
#define chunk_assert(a, c)                                                                         \
    assert((must(chunk_is_sound(a, c), "malloc", "%p is overwritten", (void *)c), 1))

/* Dies with a message that says what `p` is, if not a live block. A walk is affordable here. */
static COLD void pointer_refuse(struct arena *a, char *p, const char *call) {
    void *at = p;
    for (struct chunk *c = a->sentinel->next; c != a->sentinel; c = c->next) {
        void *block = c->data;
        must(chunk_is_sound(a, c), call, "%p: the header of %p is overwritten", at, block);
        if (p < (char *)c || p >= chunk_end(c))
            continue;
        must(p >= c->data, call, "%p is not a block: it lies in the header of %p", at, block);
        must(!c->free, call, "%s of %p (in %zu free bytes)", freed_twice(call), at, c->size);
        die(call, "%p is not a block: it lies %zu bytes into %p (%zu bytes)", at,
            (size_t)(p - c->data), block, c->size);
    }
    die(call, "%p is not a block of this heap", at);
}

/* The chunk of a live block; dies if there is none. A block that lies in an arena which a
 * fork froze is accepted by its address alone, because its neighbours may be half linked. */
static struct chunk *chunk_check(struct arena *a, void *p, const char *call, bool *frozen) {
    struct chunk *c = chunk_of(p);
    for (struct arena *old = a->older; old; old = old->older)
        if (arena_holds(old, c) && c->size <= (size_t)(old->end - c->data))
            return *frozen = true, c;
    if (unlikely(!chunk_is_sound(a, c) || c->free))
        pointer_refuse(a, p, call);
    return *frozen = false, c;
}

/* ── chunks: split and merge ───────────────────────────────────────────────── */

/* Makes the bytes from `c` to `end` a free chunk, next in the list after `prev`. */
static struct chunk *chunk_make(struct chunk *c, char *end, struct chunk *prev) {
    *c = (struct chunk){.next = prev->next, .prev = prev, .free = 1};
    c->size = (size_t)(end - c->data);
    c->next->prev = c;
    prev->next = c;
    return c;
}

/* Adds the next chunk, which is free, to this one. */
static void chunk_absorb(struct chunk *c) {
    c->size += HEADER + c->next->size;
    c->next = c->next->next;
    c->next->prev = c;
}

/* Merges a free chunk with free neighbours on both sides. Returns the merged chunk. */
static struct chunk *chunk_merge(struct arena *a, struct chunk *c) {
    if (chunk_free_next(a, c))
        chunk_absorb(c);
    if (c->prev == a->sentinel || !c->prev->free || chunk_free_next(a, c->prev) != c)
        return c;
    chunk_absorb(c->prev);
    return c->prev;
}

/* Cuts off what exceeds `size` as a free chunk, if it has room for a header and data. */
static void chunk_split(struct arena *a, struct chunk *c, size_t size) {
    if (c->size < size + HEADER + LEAST)
        return;
    struct chunk *rest = chunk_make((struct chunk *)(c->data + size), chunk_end(c), c);
    c->size = size;
    chunk_merge(a, rest);
}

/* Where in this chunk an aligned block can begin: at its data, or far enough behind that
 * the bytes before it can be a chunk of their own. NULL if it does not fit. */
static char *chunk_fit(struct chunk *c, size_t alignment, size_t size) {
    char *p = align_up(c->data, alignment);
    while (p != c->data && p < c->data + HEADER + LEAST)
        p += alignment;
    return p <= chunk_end(c) && size <= (size_t)(chunk_end(c) - p) ? p : NULL;
}

/* ── the arena: first fit, and the program break ───────────────────────────── */

/* Moves the break. An arena that took over at a fork has a break of its own, because the
 * call that a signal handler interrupted may be inside sbrk, and will continue. */
static char *arena_break(struct arena *a, intptr_t n) {
    char *old = a->top;
    if (!old)
        return limit_break(n);
    if (n > a->limit - old || (n > 0 && !limit_commit(old, (size_t)n)))
        return os_refuse();
    if (n < 0)
        limit_refund((size_t)-n);
    a->top += n;
    return old;
}

/* Moves the break, and makes the new memory a free chunk of at least `size` bytes. Asks
 * for whole steps, and if these are refused, for just as much as is needed. */
static struct chunk *arena_extend(struct arena *a, size_t size) {
    char *now = arena_break(a, 0), *start = align_up(now, ALIGNMENT), *end, *old;
    end = start + round_up(HEADER + size, STEP);
    if (!(old = arena_break(a, end - now))) {
        end = start + HEADER + size;
        if (!(old = arena_break(a, end - now)))
            return NULL;
    }
    if (old != now) /* the program moved it in between: that piece is lost, so try again */
        return arena_extend(a, size);
    if (!a->start)
        a->start = start;
    a->end = end;
    return chunk_merge(a, chunk_make((struct chunk *)start, end, a->sentinel->prev));
}

/* Gives the free tail back except for `keep` bytes. Impossible if the program has moved
 * the break since. Returns the number of bytes given back, and keeps errno. */
static size_t arena_trim(struct arena *a, size_t keep) {
    struct chunk *last = a->sentinel->prev;
    size_t size = data_size(keep);
    int saved = errno;
    if (!last->free || last->size <= size || chunk_end(last) != a->end ||
        arena_break(a, 0) != a->end)
        return 0;
    size_t excess = last->size - size;
    bool moved = arena_break(a, -(intptr_t)excess);
    errno = saved;
    if (!moved)
        return 0;
    last->size = size;
    a->end -= excess;
    return excess;
}

/* Takes the first chunk that fits, or new memory at the end of the heap if none does. */
static void *arena_allocate(struct arena *a, size_t alignment, size_t size) {
    char *p = NULL;
    struct chunk *c = a->sentinel->next;
    while (c != a->sentinel &&
           (chunk_assert(a, c), !(c->free && (p = chunk_fit(c, alignment, size)))))
        c = c->next;
    if (c == a->sentinel) {
        c = arena_extend(a, size + (alignment > ALIGNMENT ? alignment + HEADER + LEAST : 0));
        if (!c)
            return NULL;
        p = chunk_fit(c, alignment, size);
    }
    if (p != c->data) { /* the bytes before the aligned block stay free */
        struct chunk *front = c;
        c = chunk_make(chunk_of(p), chunk_end(front), front);
        front->size = (size_t)((char *)c - front->data);
    }
    c->free = 0; /* before the split, which would merge the rest with a free chunk */
    chunk_split(a, c, size);
    return p;
}

/* Gives a large free tail back, except for one step, because more will be wanted soon. */
static void arena_trim_excess(struct arena *a) {
    struct chunk *last = a->sentinel->prev;
    if (last->free && last->size > TAIL_KEPT)
        arena_trim(a, STEP);
}

static void arena_free(struct arena *a, struct chunk *c) {
    c->free = 1;
    chunk_merge(a, c);
    arena_trim_excess(a);
}

/* Grows or shrinks a block in place: into a free neighbour, or into new memory at the
 * end of the heap. */
static bool arena_resize(struct arena *a, struct chunk *c, size_t size) {
    struct chunk *room = chunk_free_next(a, c);
    bool last = (room ? room : c)->next == a->sentinel;
    if (last && c->size + (room ? HEADER + room->size : 0) < size) {
        arena_extend(a, size - c->size);
        room = chunk_free_next(a, c);
    }
    if (c->size + (room ? HEADER + room->size : 0) < size)
        return false;
    if (c->size < size)
        chunk_absorb(c);
    chunk_split(a, c, size);
    arena_trim_excess(a);
    return true;
}

/* ── the contract ──────────────────────────────────────────────────────────── */

static void *heap_allocate_aligned(size_t alignment, size_t size) {
    struct arena *a = arena_lock();
    void *p = arena_allocate(a, alignment, data_size(size));
    arena_unlock(a);
    return p;
}

static void *heap_allocate(size_t size) {
    return size <= PTRDIFF_MAX ? heap_allocate_aligned(ALIGNMENT, size) : os_refuse();
}

/* Memory from the break is zero, but freed memory is not, and list does not keep track. */
static void *heap_allocate_zeroed(size_t size) {
    void *p = heap_allocate(size);
    return p ? memset(p, 0, size) : NULL;
}

static void heap_free(void *p, const char *call) {
    if (!p)
        return;
    bool frozen;
    struct arena *a = arena_lock();
    struct chunk *c = chunk_check(a, p, call, &frozen);
    if (!frozen)
        arena_free(a, c);
    arena_unlock(a);
}

static size_t heap_usable(void *p, const char *call) {
    bool frozen;
    struct arena *a = arena_lock();
    size_t size = chunk_check(a, p, call, &frozen)->size;
    arena_unlock(a);
    return size;
}

static void *heap_resize(void *p, size_t size, const char *call) {
    bool frozen;
    struct arena *a = arena_lock();
    struct chunk *c = chunk_check(a, p, call, &frozen);
    size_t old = c->size, wanted = data_size(size);
    void *new = p;
    if (frozen || !arena_resize(a, c, wanted)) {
        new = arena_allocate(a, ALIGNMENT, wanted);
        if (new)
            memcpy(new, p, old < wanted ? old : wanted);
        if (new && !frozen)
            arena_free(a, c);
    }
    arena_unlock(a);
    return new;
}

static size_t heap_trim(size_t pad) {
    struct arena *a = arena_lock();
    size_t given = arena_trim(a, pad);
    arena_unlock(a);
    return given;
}

static struct lock *heap_lock(unsigned i) { return i == 0 ? &heap.arena->lock : NULL; }

static bool heap_goes_on(void) { return os_break_obeys(); }

/* The fresh arena's record lies at the start of its own break. */
static bool heap_freeze(void) {
    size_t size = OWN_BREAK;
    struct arena *fresh;
    while (!(fresh = os_reserve(size)) && size > STEP)
        size /= 2;
    if (!fresh || !os_commit(fresh, STEP))
        return false;
    struct chunk *sentinel = (struct chunk *)align_up(fresh + 1, ALIGNMENT);
    sentinel->next = sentinel->prev = sentinel;
    *fresh = (struct arena){.lock = LOCK_FREE,
                            .sentinel = sentinel,
                            .older = heap.arena,
                            .top = (char *)(sentinel + 1),
                            .limit = (char *)fresh + size};
    __atomic_store_n(&heap.arena, fresh, __ATOMIC_RELEASE);
    return true;
}

static void heap_snapshot(struct snapshot *out) {
    struct arena *a = arena_lock();
    for (struct chunk *c = a->sentinel->next; c != a->sentinel; c = c->next) {
        snapshot_region(out, c, HEADER + c->size);
        snapshot_block(out, c->free ? LIBMALLOC_FREE : LIBMALLOC_LIVE, c, HEADER, c->size, 0);
    }
    arena_unlock(a);
}

static void heap_verify(struct findings *out) {
    struct arena *a = arena_lock();
    for (struct chunk *c = a->sentinel->next; c != a->sentinel; c = c->next) {
        bool sound = chunk_is_sound(a, c);
        expect(out, sound, "chunk %p: its header disagrees with its neighbours", (void *)c);
        if (!sound) /* its links may lead anywhere */
            break;
        expect(out, !c->free || !chunk_free_next(a, c),
               "chunk %p and the next: free and not merged", (void *)c);
    }
    arena_unlock(a);
}

static size_t heap_overhead(void) { return sizeof heap + HEADER; }

static bool heap_count(struct libmalloc_stats *s, bool patient) { return heap_tally(s, patient); }

#include "abi.h"
