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
 * What it lacks: a way to a free chunk that does not lead past all the others, and
 * a lock that two threads need not share. paged.c adds both.
 *
 *     cc -O2 -g -std=gnu17 -fPIC -fvisibility=hidden -fno-builtin -pthread -shared \
 *        -Wl,-Bsymbolic -o libmalloc-list.so native/list.c
 */
#include "heap.h"

LIBMALLOC_VARIANT(2, list);

#include "die.h"
#include "lock.h"
#include "os.h"
#include "snapshot.h"

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
    STEP = 64 * 1024,     /* the break moves in such steps: a system call each would */
    TAIL_KEPT = 2 * STEP, /* cost more than the walk; nor does a small tail go back */
};

/* All chunks that belong together. Somebody else may move the break as well: then
 * two neighbours in the list are no neighbours in memory, and never merge. */
struct arena {
    struct lock lock;
    struct chunk *sentinel;
    char *start, *end;   /* everything ours lies between */
    struct arena *older; /* frozen at a fork (lock.h): readable, never changed */
};

static struct chunk first_sentinel = {.next = &first_sentinel, .prev = &first_sentinel};
/* Locking: the arena's one lock, around everything. */
static struct {
    struct arena *arena; /* the one in use */
    struct arena first;
} heap = {.arena = &heap.first, .first = {.lock = LOCK_FREE, .sentinel = &first_sentinel}};

static struct arena *arena_enter(void) {
    struct arena *a;
    do
        a = heap.arena;
    while (!lock_take(&a->lock));
    return a;
}

static void arena_leave(struct arena *a) { lock_drop(&a->lock); }

static char *chunk_end(struct chunk *c) { return c->data + c->size; }
static struct chunk *chunk_of(void *data) { return (struct chunk *)data - 1; }

/* Does `next` begin where `c` ends? Not so over a hole that somebody else made. */
static bool chunk_touches(struct chunk *c, struct chunk *next) {
    return chunk_end(c) == (char *)next;
}

/* ── the check of every pointer that comes in ──────────────────────────────── */

/* May this be a header? Decides whether it can be read without a fault. */
static bool arena_holds(struct arena *a, struct chunk *c) {
    return (char *)c >= a->start && (char *)c + HEADER <= a->end && (uintptr_t)c % ALIGNMENT == 0;
}

static bool arena_links(struct arena *a, struct chunk *c) {
    return c == a->sentinel || arena_holds(a, c);
}

/* A chunk is one whose neighbours agree that it is, and that ends before the next
 * one begins. Data that looks like a header passes only if it forges all of that. */
static bool chunk_is_sound(struct arena *a, struct chunk *c) {
    if (!arena_holds(a, c) || !arena_links(a, c->next) || !arena_links(a, c->prev))
        return false;
    char *limit = c->next == a->sentinel ? a->end : (char *)c->next;
    return c->next->prev == c && c->prev->next == c && c->free <= 1 && c->data <= limit &&
           c->size <= (size_t)(limit - c->data) && c->size % ALIGNMENT == 0;
}

/* Says what `p` is, now that it is no live block; we stop here, so a walk is fine. */
static COLD void pointer_refuse(struct arena *a, char *p, const char *call) {
    for (struct chunk *c = a->sentinel->next; c != a->sentinel; c = c->next) {
        must(chunk_is_sound(a, c), call, "%p: the header at %p is overwritten", (void *)p,
             (void *)c);
        if (p < (char *)c || p >= chunk_end(c))
            continue;
        must(p >= c->data, call, "%p is not a block: it lies in the header of %p", (void *)p,
             (void *)c->data);
        must(!c->free, call, "%s of %p (in %zu free bytes)", freed_twice(call), (void *)p,
             (size_t)(chunk_end(c) - p));
        must(p == c->data, call, "%p is not a block: it lies %zu bytes into %p (%zu bytes)",
             (void *)p, (size_t)(p - c->data), (void *)c->data, c->size);
    }
    die(call, "%p is not a block of this heap", (void *)p);
}

static struct chunk *chunk_check(struct arena *a, void *p, const char *call) {
    struct chunk *c = chunk_of(p);
    if (unlikely(!chunk_is_sound(a, c) || c->free))
        pointer_refuse(a, p, call);
    return c;
}

/* A block from before a fork that froze its arena: its neighbours may be half
 * linked, so only the size is asked, and only whether it can be true. */
static struct chunk *chunk_frozen(struct arena *a, void *p, const char *call) {
    for (struct arena *old = a->older; old; old = old->older) {
        struct chunk *c = chunk_of(p);
        if (!arena_holds(old, c))
            continue;
        must(c->size <= (size_t)(old->end - c->data), call, "%p is not a block of this heap", p);
        return c;
    }
    return NULL;
}

/* ── chunks: split and merge ───────────────────────────────────────────────── */

static void chunk_link(struct chunk *c, struct chunk *prev) {
    c->prev = prev;
    c->next = prev->next;
    c->next->prev = c;
    prev->next = c;
}

static void chunk_unlink(struct chunk *c) {
    c->prev->next = c->next;
    c->next->prev = c->prev;
}

/* Takes the next chunk in; both are of one piece. */
static void chunk_absorb(struct chunk *c, struct chunk *next) {
    chunk_unlink(next);
    c->size += HEADER + next->size;
}

/* Merges a free chunk with free neighbours on both sides. */
static void chunk_merge(struct arena *a, struct chunk *c) {
    struct chunk *next = c->next, *prev = c->prev;
    if (next != a->sentinel && next->free && chunk_touches(c, next))
        chunk_absorb(c, next);
    if (prev != a->sentinel && prev->free && chunk_touches(prev, c))
        chunk_absorb(prev, c);
}

/* Cuts what is over `size` off into a free chunk, if it is worth a header. */
static void chunk_split(struct arena *a, struct chunk *c, size_t size) {
    if (c->size < size + HEADER + LEAST)
        return;
    struct chunk *rest = (struct chunk *)(c->data + size);
    rest->size = c->size - size - HEADER;
    rest->free = 1;
    c->size = size;
    chunk_link(rest, c);
    chunk_merge(a, rest);
}

/* Where in this chunk an aligned block can begin: at its data, or so far behind
 * that the bytes before it are a chunk of their own. NULL when it does not fit. */
static char *chunk_fit(struct chunk *c, size_t alignment, size_t size) {
    char *p = align_up(c->data, alignment);
    while (p != c->data && p < c->data + HEADER + LEAST)
        p += alignment;
    return p <= chunk_end(c) && size <= (size_t)(chunk_end(c) - p) ? p : NULL;
}

/* Cuts the bytes before `p` off; they stay free and the rest is returned. */
static struct chunk *chunk_cut_front(struct chunk *c, char *p) {
    if (p == c->data)
        return c;
    struct chunk *rest = chunk_of(p);
    rest->size = (size_t)(chunk_end(c) - p);
    rest->free = 1;
    c->size = (size_t)((char *)rest - c->data);
    chunk_link(rest, c);
    return rest;
}

/* ── the arena: first fit, and the program break ───────────────────────────── */

/* Moves the break so far that the last chunk is free and has `size` bytes. Asks for
 * whole steps first, for the exact need when memory is short. */
static struct chunk *arena_extend(struct arena *a, size_t size) {
    struct chunk *last = a->sentinel->prev;
    char *now = os_break(0);
    if (!now)
        return NULL;
    bool joined = now == a->end; /* nobody moved it since */
    bool reuse = joined && last != a->sentinel && last->free && chunk_end(last) == a->end;
    size_t have = reuse ? last->size : 0;
    size_t need = (size > have ? size - have : 0) + (reuse ? 0 : HEADER) + (joined ? 0 : ALIGNMENT);
    size_t step = round_up(need, STEP);
    char *old = os_break((intptr_t)step);
    if (!old && !(old = os_break((intptr_t)(step = need))))
        return NULL;
    if (old != now) /* moved between our two calls: the piece stands alone */
        reuse = false;
    struct chunk *c = (struct chunk *)align_up(old, ALIGNMENT);
    if (!a->start)
        a->start = (char *)c;
    a->end = old + step - (uintptr_t)(old + step) % ALIGNMENT;
    if (reuse) {
        last->size = (size_t)(a->end - last->data);
        return last;
    }
    c->size = (size_t)(a->end - c->data);
    c->free = 1;
    chunk_link(c, last);
    return c->size >= size ? c : arena_extend(a, size);
}

/* Gives the free tail back but for `keep` bytes; somebody else's memory behind
 * it keeps it where it is. Returns the bytes given back. */
static size_t arena_trim(struct arena *a, size_t keep) {
    struct chunk *last = a->sentinel->prev;
    keep = round_up(keep, ALIGNMENT);
    if (last == a->sentinel || !last->free || chunk_end(last) != a->end || os_break(0) != a->end)
        return 0;
    size_t excess = keep ? last->size - (last->size < keep ? last->size : keep)
                         : HEADER + last->size;
    int saved = errno; /* free() keeps it */
    bool moved = excess && os_break(-(intptr_t)excess);
    errno = saved;
    if (!moved)
        return 0;
    a->end -= excess;
    if (keep)
        last->size -= excess;
    else
        chunk_unlink(last);
    return excess;
}

/* First fit. */
static struct chunk *arena_find(struct arena *a, size_t size) {
    for (struct chunk *c = a->sentinel->next; c != a->sentinel; c = c->next)
        if (c->free && c->size >= size)
            return c;
    return arena_extend(a, size);
}

static struct chunk *arena_find_aligned(struct arena *a, size_t alignment, size_t size) {
    for (struct chunk *c = a->sentinel->next; c != a->sentinel; c = c->next)
        if (c->free && chunk_fit(c, alignment, size))
            return c;
    return arena_extend(a, size + alignment + HEADER + LEAST);
}

static size_t data_size(size_t size) { return size ? round_up(size, ALIGNMENT) : LEAST; }

static void *arena_take(struct arena *a, struct chunk *c, size_t size) {
    if (!c)
        return NULL;
    chunk_split(a, c, size);
    c->free = 0;
    return c->data;
}

/* A large free tail goes back, but not all of it: it would be wanted again. */
static void arena_settle(struct arena *a) {
    struct chunk *last = a->sentinel->prev;
    if (last->free && last->size > TAIL_KEPT)
        arena_trim(a, STEP);
}

static void arena_give(struct arena *a, struct chunk *c) {
    c->free = 1;
    chunk_merge(a, c);
    arena_settle(a);
}

/* The bytes that a block could have where it stands. */
static size_t chunk_reach(struct arena *a, struct chunk *c) {
    struct chunk *next = c->next;
    bool room = next != a->sentinel && next->free && chunk_touches(c, next);
    return c->size + (room ? HEADER + next->size : 0);
}

/* Grows or shrinks a block in place: into a free neighbour, or into new memory at
 * the end of the heap. */
static bool arena_resize(struct arena *a, struct chunk *c, size_t size) {
    bool last = c->next == a->sentinel || (c->next->free && c->next->next == a->sentinel);
    if (last && chunk_reach(a, c) < size)
        arena_extend(a, size - c->size);
    if (chunk_reach(a, c) < size)
        return false;
    if (c->size < size)
        chunk_absorb(c, c->next);
    chunk_split(a, c, size);
    arena_settle(a);
    return true;
}

/* ── the contract ──────────────────────────────────────────────────────────── */

static void *heap_allocate(size_t size) {
    size = data_size(size);
    struct arena *a = arena_enter();
    void *p = arena_take(a, arena_find(a, size), size);
    arena_leave(a);
    return p;
}

/* What the break gives is zero, but not what was freed; list does not keep track. */
static void *heap_allocate_zeroed(size_t size) {
    void *p = heap_allocate(size);
    return p ? memset(p, 0, size) : NULL;
}

static void *heap_allocate_aligned(size_t alignment, size_t size) {
    size = data_size(size);
    struct arena *a = arena_enter();
    struct chunk *c = arena_find_aligned(a, alignment, size);
    if (c)
        c = chunk_cut_front(c, chunk_fit(c, alignment, size));
    void *p = arena_take(a, c, size);
    arena_leave(a);
    return p;
}

static void heap_free(void *p, const char *call) {
    struct arena *a = arena_enter();
    if (likely(!chunk_frozen(a, p, call)))
        arena_give(a, chunk_check(a, p, call));
    arena_leave(a);
}

static size_t heap_usable(void *p, const char *call) {
    struct arena *a = arena_enter();
    struct chunk *frozen = chunk_frozen(a, p, call);
    size_t size = (frozen ? frozen : chunk_check(a, p, call))->size;
    arena_leave(a);
    return size;
}

static void *heap_resize(void *p, size_t size, const char *call) {
    struct arena *a = arena_enter();
    struct chunk *frozen = chunk_frozen(a, p, call);
    struct chunk *c = frozen ? frozen : chunk_check(a, p, call);
    size_t old = c->size, wanted = data_size(size);
    struct chunk *to = NULL;
    void *new = !frozen && arena_resize(a, c, wanted) ? p : NULL;
    if (!new && (to = arena_find(a, wanted))) {
        new = memcpy(arena_take(a, to, wanted), p, old < wanted ? old : wanted);
        if (!frozen)
            arena_give(a, c);
    }
    arena_leave(a);
    return new;
}

static size_t heap_trim(size_t pad) {
    struct arena *a = arena_enter();
    size_t given = arena_trim(a, pad);
    arena_leave(a);
    return given;
}

static struct lock *heap_lock(unsigned i) { return i == 0 ? &heap.arena->lock : NULL; }

/* The fresh arena begins where the break is now; to either, the other is somebody
 * else who moves it. Without memory for it the old one has to do. */
static void heap_freeze(void) {
    struct arena *fresh = os_map(round_up(sizeof *fresh, ALIGNMENT) + HEADER);
    if (!fresh)
        return;
    struct chunk *sentinel = (struct chunk *)align_up(fresh + 1, ALIGNMENT);
    sentinel->next = sentinel->prev = sentinel;
    *fresh = (struct arena){.lock = LOCK_FREE, .sentinel = sentinel, .older = heap.arena};
    heap.arena = fresh;
}

/* ── looking at it ─────────────────────────────────────────────────────────── */

static void heap_snapshot(struct snapshot *out) {
    struct arena *a = arena_enter();
    for (struct chunk *c = a->sentinel->next; c != a->sentinel; c = c->next) {
        snapshot_region(out, c, HEADER + c->size);
        snapshot_add(out, (struct libmalloc_chunk){
                              .start = c,
                              .extent = HEADER + c->size,
                              .user = c->data,
                              .usable = c->size,
                              .kind = c->free ? LIBMALLOC_FREE : LIBMALLOC_LIVE,
                          });
    }
    arena_leave(a);
}

static void heap_verify(struct findings *out) {
    struct arena *a = arena_enter();
    for (struct chunk *c = a->sentinel->next; c != a->sentinel; c = c->next) {
        bool sound = chunk_is_sound(a, c);
        expect(out, sound, "chunk %p: its header disagrees with its neighbours", (void *)c);
        if (!sound) /* where it leads to is anybody's guess */
            break;
        expect(out, !c->free || c->next == a->sentinel || !c->next->free ||
                        !chunk_touches(c, c->next),
               "chunks %p and %p: free, neighbours, and not merged", (void *)c, (void *)c->next);
    }
    arena_leave(a);
}

static size_t heap_overhead(void) { return sizeof heap + HEADER; }

#include "abi.h"
