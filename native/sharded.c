/* sharded.c: every thread owns its pages; no lock on the fast path.
 *
 * The idea: a page is 64 KiB (256 KiB for blocks of more than 8 KiB), cut into blocks of one size
 * class. A stack in the page's record lists the free ones. The page is owned by the heap of one
 * thread, and only that thread pushes to the stack and pops from it.
 *
 *      malloc(n)                                free(p)
 *        self ─> heap                             p ─> record of its page   (page.h)
 *        heap.direct[n / 16] ─> page              check: a block of this thread begins at p,
 *        pop the top block of its stack           and it is not marked as free
 *        check: it is marked as free              mark it, and push it on the stack
 *
 *      sharded.c          this story, the hot pair, threads, and the contract
 *      sharded/class.h    which sizes there are
 *      sharded/page.h     the record of a page, how a pointer leads to it, free blocks
 *      sharded/record.h   memory for records
 *      sharded/arena.h    memory from the kernel, and the map from addresses to records
 *      sharded/region.h   runs of granules: allocated, freed, purged
 *      sharded/owner.h    heaps and their pages; blocks that other threads free
 *      sharded/sweep.h    purging free memory inside pages that hold live blocks
 *      sharded/thread.h   heaps and threads: begin, adopt, flush; ticks
 *      sharded/large.h    blocks of more than 32 KiB
 *      sharded/huge.h     large blocks that have a mapping of their own
 *      sharded/look.h     describing the heap, and verifying it
 *
 * The price, in instructions: malloc 19, free 23, including every check below; so a pair of calls
 * costs 42 for blocks of up to 1 KiB, in whatever order, 61 up to 8 KiB, 76 up to 32 KiB
 * (callgrind, the workload `tight`; tests/native/costs.test.ts holds bounds). A block that another
 * thread frees costs some 45 more, and its share of the two atomic operations that a batch takes.
 * A block of more than 32 KiB costs 105 if the thread keeps a run of its length, and an atomic
 * operation unless there is only one thread; else a lock and some 300.
 * The first touch of a page of memory costs 0.25 µs, on some virtual machines 15 µs. So much here
 * serves to touch few pages, and, once a heap has grown, to touch them 2 MiB at a time.
 *
 * What it catches, always: pointers that are not ours, or not the start of a block; a second free
 * of a block that was not handed out again in between; writes to the first 8 bytes of a free block,
 * when malloc is about to hand it out or when its page is dropped. One exception: a free block
 * whose memory was purged (sweep.h) carries no mark. A second free of it is found only when malloc
 * comes to it, and not at all if it was handed out in between and then begins with 8 zero bytes.
 *
 * Locking: 1. The region's lock guards the region, records, huge blocks, and the lists of heaps.
 * No other lock is taken under it. 2. Only the owner of a heap changes it, its pages and their
 * records. There are two exceptions, to which any thread adds, and which the owner drains: a
 * heap's list `pending`, and a page's word `remote` with the entries at the far end of its stack.
 * 3. A thread owns the heaps whose `life` it holds; it never waits for one.
 *
 *     cc -O2 -g -std=gnu17 -fPIC -fvisibility=hidden -ftls-model=initial-exec -pthread \
 *        -fno-builtin -shared -Wl,-Bsymbolic -o libmalloc-sharded.so native/sharded.c
 */
#include "heap.h"

LIBMALLOC_VARIANT(4, sharded);

#include "sharded/huge.h"
#include "sharded/sweep.h"

/* The main thread's heap and the first region. In .bss, because a small program then needs no
 * mapping for them, and the library's file holds no bytes of them to be read and copied. */
static struct heap first_heap;
static struct region first_region; /* a lock of zeros is free */

static struct {
    struct region *region; /* the current one; a fork may have replaced the first (heap_freeze) */
    struct heap *heaps;    /* all heaps; new ones, and some adopted ones, move to the front */
    struct heap *newest;   /* all heaps, the newest first */
    struct heap *looked;   /* where heap_adopt's search continues */
    struct huges huges;
} heap = {.region = &first_region};

/* Locks the current region. If a signal handler forks while its thread holds the lock, the
 * interrupted call continues in the child with the region that it locked; later calls lock a fresh
 * one (heap_freeze). */
static struct region *region_lock(void) {
    struct region *r;
    do
        r = heap.region;
    while (!lock_acquire(&r->lock));
    return r;
}

static void region_unlock(struct region *r) {
    lock_release(&r->lock);
}

#include "sharded/large.h"

#include "sharded/thread.h"

/* ── malloc ────────────────────────────────────────────────────────────────── */

/* Takes a run for a page of that class. Only if `more` does the region grow for it. */
static struct page *page_allocate(struct heap *h, unsigned class, bool more) {
    uint32_t granules = class_granules(class_size(class));
    struct region *r = region_lock();
    struct page *page = NULL;
    if (near_open(r) && (more || run_find(r, granules, PAGES)) &&
        (page = record_make(&slabs.pools[h->pool], class)) &&
        !run_acquire(r, granules, PAGES, page)) {
        record_free(page);
        page = NULL;
    }
    region_unlock(r);
    return page;
}

/* After GROWS fresh pages of a class, each further one is populated at once: one system call
 * instead of 16 page faults a granule. A dirty page is resident already. */
static struct page *page_make(struct heap *h, unsigned class) {
    struct page *page = page_allocate(h, class, false);
    if (!page) { /* before the region grows, empty our batches and reclaim an abandoned heap */
        batches_send(h);
        heap_reclaim_one();
        page = page_allocate(h, class, true);
    }
    if (!page && heaps_reclaim())
        page = page_allocate(h, class, true);
    if (!page)
        return os_refuse();
    if (!page->dirty && h->made[class] < GROWS)
        h->made[class]++;
    else if (!page->dirty)
        os_populate(page->start, page_length(page));
    page_open(page, h, class);
    h->pages++;
    return page;
}

static struct page *page_use(struct heap *h, struct page *page, unsigned class) {
    if (page) {
        if (page->listed) /* h->fresh[class] may be listed, too; twice would make a loop */
            partial_remove(h, page);
        page->budget = TICK;
        if (atomic_load_explicit(&page->remote, memory_order_relaxed) & REMOTE_FULL)
            atomic_fetch_and_explicit(&page->remote, ~REMOTE_FULL, memory_order_relaxed);
    }
    direct_set(h, class, page ? page : NONE);
    return page;
}

/* Makes a page current that has blocks which were never handed out. */
static struct page *page_fresh(struct heap *h, unsigned class) {
    struct page *page = h->fresh[class];
    if (!page || !page_carve(page)) {
        page = page_make(h, class);
        if (page)
            page_carve(page);
        h->fresh[class] = page;
    }
    return page_use(h, page, class);
}

/* The first block of a class costs a page fault, which is more than a hundred calls of malloc, and
 * a small program uses many classes. So in a heap of fewer than FEW pages a class without a page
 * borrows that of the next power of two, if it has a free block or less than 4 KiB are carved. */
static struct page *page_share(struct heap *h, unsigned class) {
    size_t size = ALIGNMENT;
    while (size < class_size(class))
        size *= 2;
    unsigned shared = class_index(size);
    if (h->pages >= FEW || shared == class)
        return NULL;
    struct page *page = h->current[shared], *partial = h->partial[shared];
    if (page == NONE)
        page = partial ? page_use(h, partial, shared) : page_fresh(h, shared);
    bool young = page && page->carved * size < os_page_size();
    if (!page || (!page->count && !(young && page_carve(page))))
        return NULL;
    direct_set(h, class, page);
    return page;
}

/* The current page has run out. Looks first for blocks of it that other threads freed, then for
 * partial pages of the class, and only then for fresh blocks, so that no new memory is touched
 * while some is idle. */
static struct page *page_next(struct heap *h, unsigned class) {
    struct page *page = h->current[class];
    if (++h->slow % SLOW == 0)
        heap_tick(h);
    for (unsigned i = 0; i < REDRAINS && !page->count && !h->partial[class] && heap_drain(h); i++) {
    }
    if (page->count)
        return page;
    if (page != NONE && page->class == class) {
        if (!h->partial[class] && page_carve(page))
            return page;
        page_retire(h, page);
        page_await_frees(page);
    }
    if (h->partial[class])
        return page_use(h, h->partial[class], class);
    if (page == NONE && !h->fresh[class] && (page = page_share(h, class)))
        return page;
    return page_fresh(h, class);
}

static void *allocate_from(struct heap *h, unsigned class) {
    void *p;
    struct page *page = h->current[class];
    while (!(p = page_pop(page, page->shift))) {
        must(!page->count || page_revive(h, page), "malloc",
             "the free block %p was written to after its free", (void *)page->top);
        heap_busy(h, true);
        page = page_next(h, class);
        heap_busy(h, false);
        if (!page)
            return NULL;
    }
    return p;
}

static __attribute__((noinline)) void *allocate_slowly(size_t size) {
    bool zero;
    struct heap *h = self;
    if (unlikely(h == &heap_none) && !(h = thread_begin()))
        return NULL;
    return likely(size <= SMALL) ? allocate_from(h, class_index(size))
                                 : large_allocate(64, size, &zero);
}

/* For more than DIRECT bytes: computes the class, or takes a run that the thread keeps. */
static __attribute__((noinline)) void *allocate_larger(size_t size) {
    struct heap *h = self;
    if (unlikely(size > SMALL)) {
        void *run = size <= KEPT_MOST ? kept_take(h, size) : NULL;
        return run ? run : allocate_slowly(size);
    }
    unsigned class = class_index_long(size);
    struct page *page = h->current[class];
    void *p = size > NARROW ? page_pop(page, WIDE) : page_pop(page, 0);
    if (likely(p))
        return p;
    return h == &heap_none ? allocate_slowly(size) : allocate_from(h, class);
}

/* The hot path of malloc. */
static inline void *heap_allocate(size_t size) {
    if (unlikely(size > DIRECT))
        return allocate_larger(size);
    void *p = page_pop(self->direct[(size + 15) / 16], 0);
    return likely(p) ? p : allocate_slowly(size);
}

/* ── free ──────────────────────────────────────────────────────────────────── */

/* The record of the page or run in which a block begins at p. If there is none, dies with a message
 * that says what p is instead. */
static struct page *block_check(void *p, const char *call) {
    struct page *page = page_of(p);
    if (page_begins(page, p) || large_begins(page, p))
        return page;
    bool held = false; /* of a long run, the granules in the middle have no entry in the map */
    for (char *at = p; !held && arena_of(at); at -= GRANULE) {
        page = page_of(at);
        held = (size_t)((char *)p - page->start) < page_length(page);
    }
    must(arena_of(p), call, "%p is not a block of this heap", p);
    must(held && (page->kind == PAGE_SMALL || page->kind == PAGE_LARGE), call,
         "%s of %p (its page is free)", freed_twice(call), p);
    size_t size = page->kind == PAGE_SMALL ? page->size : (size_t)(page_end(page) - page->base);
    size_t offset = (size_t)((char *)p - page->base);
    must((char *)p >= page->base && offset % size == 0, call,
         "%p is not a block: it lies %zu bytes into %p (%zu bytes)", p, offset % size,
         (void *)((char *)p - offset % size), size);
    die(call, "%p is not a block: it was never handed out", p);
}

/* A block to be freed carries the mark of a free one. The program's data may look like that, so we
 * report a double free only after we found the block among the free ones. The owner's search is
 * exact, because no block of its page is handed out meanwhile. The lists that another thread reads
 * may be changing, so it must find the block CONFIRMATIONS times, a millisecond apart. */
static COLD void block_suspect(struct page *page, void *p, const char *call) {
    uint16_t place = page_place(page, p);
    for (int times = page->owner == self ? 1 : CONFIRMATIONS; times > 0; times--) {
        bool listed = page_lists(page, place);
        struct heap *h = __atomic_load_n(&heap.newest, __ATOMIC_ACQUIRE);
        for (; h && !listed; h = h->older)
            listed = batches_hold(h, page, place);
        if (!listed)
            return;
        if (times > 1)
            os_nap(1000000);
    }
    die(call, "%s of %p (%zu bytes)", freed_twice(call), p, (size_t)page->size);
}

static COLD void free_otherwise(void *p, const char *call) {
    if (!p || huge_free(p))
        return;
    struct page *page = block_check(p, call);
    struct heap *h = self;
    int saved = errno;
    if (unlikely(block_is_marked(p)))
        block_suspect(page, p, call);
    if (h == &heap_none && !(h = thread_begin())) { /* no memory for a heap: return it directly */
        errno = saved;
        uint16_t place = page_place(page, p);
        block_mark(p);
        page_return(page, &place, 1);
        return;
    }
    if (page->owner != h) {
        batch_add(h, page, p);
        return;
    }
    heap_busy(h, true);
    page_push(page, p, page_place(page, page->top));
    page_count(h, page, 1);
    heap_busy(h, false);
}

static COLD void free_at_budget_end(struct page *page) {
    struct heap *h = self;
    heap_busy(h, true);
    page_budget_spent(h, page);
    heap_drain(h); /* a thread that only frees never runs out of a page, and drains nowhere else */
    heap_busy(h, false);
}

/* Frees what heap_free's checks refuse: a block in a page of several granules, or in another
 * thread's page; a block whose data look like the mark; a large block; NULL. Dies if `p` is none
 * of these. */
static __attribute__((noinline)) void free_slowly(void *p, struct page *page, const char *call) {
    bool plain = page_begins(page, p) && !block_is_marked(p);
    if (page->owner == self && likely(plain)) {
        page_push(page, p, (uint16_t)((size_t)((char *)page->top - page->start) >> WIDE));
        if (unlikely(--page->budget == 0))
            free_at_budget_end(page);
    } else if (likely(plain) && likely(self != &heap_none)) {
        batch_add(self, page, p);
    } else if (large_begins(page, p)) {
        large_free(p, page, call);
    } else {
        free_otherwise(p, call);
    }
}

/* The hot path of free. NULL needs no test of its own: no block begins there. */
static inline void heap_free(void *p, const char *call) {
    struct page *page = page_of(p);
    if (unlikely(!page_begins_for(page, p, self_tag)) || unlikely(block_is_marked(p))) {
        free_slowly(p, page, call);
        return;
    }
    page_push(page, p, (uint16_t)(uintptr_t)page->top);
    if (unlikely(--page->budget == 0))
        free_at_budget_end(page);
}

/* ── the rest of the contract ──────────────────────────────────────────────── */

static void *heap_allocate_zeroed(size_t size) {
    bool zero = false;
    void *p = size > SMALL ? large_allocate(64, size, &zero) : heap_allocate(size);
    return p && !zero ? memset(p, 0, size) : p;
}

/* A page begins at a multiple of 64 KiB, so if a power of two up to that divides the block size,
 * it divides the addresses of all blocks. And if it divides a request, it divides the size of the
 * request's class. */
static void *heap_allocate_aligned(size_t alignment, size_t size) {
    bool zero;
    size_t room = round_up(size + !size, alignment);
    if (room <= SMALL)
        return heap_allocate(room);
    return large_allocate(alignment, size > SMALL ? size : SMALL + 1, &zero);
}

static size_t heap_usable(void *p, const char *call) {
    struct page *page = page_of(p);
    if (unlikely(!page_begins(page, p) && !large_begins(page, p))) {
        size_t size = huge_usable(p);
        if (size)
            return size;
        page = block_check(p, call);
    }
    if (page->kind == PAGE_LARGE)
        return (size_t)(page_end(page) - page->base);
    if (unlikely(block_is_marked(p)))
        block_suspect(page, p, call);
    return page->size;
}

/* Allocates a block into which realloc will copy `copied` bytes. One that grows by less than a
 * quarter gets room for a quarter, because it will probably grow further, and would be copied
 * again. NULL with errno ENOMEM. */
static void *resize_allocate(size_t size, size_t copied) {
    bool fresh;
    size_t ahead = copied + copied / 4;
    if (size > copied && size < ahead && ahead <= SMALL)
        size = ahead;
    if (size <= SMALL)
        return heap_allocate(size);
    void *new = large_allocate(64, size, &fresh);
    if (new && fresh)
        os_populate(align_up(new, os_page_size()), copied);
    return new;
}

/* Does the block stay in place unchanged? A small one does if it shrinks to no less than a half, a
 * large one to no less than three quarters: a quarter may be room that it got for growing. */
static bool resize_stays(size_t old, size_t size) {
    bool large = old > SMALL && size > SMALL;
    return size <= old && size >= (large ? old / 4 * 3 : old / 2);
}

static __attribute__((noinline)) void *resize_slowly(void *p, size_t size, const char *call) {
    size_t old = heap_usable(p, call), copied = size < old ? size : old;
    void *new = resize_stays(old, size) ? p : large_resize(p, old, size, GROWN);
    if (!new && size > old)
        new = large_move(p, old, size, call);
    if (new)
        return new;
    new = resize_allocate(size, copied);
    if (!new)
        return size <= old ? p : large_resize(p, old, size, SIZE_MAX);
    memcpy(new, p, copied);
    heap_free(p, call);
    return new;
}

/* A buffer that grows piece by piece usually has the room already. This fast path makes the checks
 * of free (a block begins at p, and is not marked) and returns p. */
static inline void *heap_resize(void *p, size_t size, const char *call) {
    struct page *page = page_of(p);
    bool stays = page_begins(page, p) && page->size - size <= page->size / 2 &&
                 !block_is_marked(p);
    return likely(stays) ? p : resize_slowly(p, size, call);
}

static size_t heap_trim(size_t pad) {
    (void)pad;
    size_t inside = heaps_do(heap_flush_and_sweep);
    return inside + idle_unmap(0) + (region_purge_all() << GRANULE_BITS);
}

static size_t heap_overhead(void) {
    return sizeof heap + sizeof first_heap + sizeof first_region + slabs.bytes;
}

static struct lock *heap_lock(unsigned i) {
    return i == 0 ? &heap.region->lock : NULL;
}

static bool heap_goes_on(void) {
    return true;
}

/* Begins a region of the next era. Records of runs of earlier eras stay valid, but a run of an
 * earlier era that is freed is never reused. */
static bool heap_freeze(void) {
    struct region *fresh = os_map(sizeof *fresh);
    if (!fresh)
        return false;
    *fresh = (struct region){.lock = LOCK_FREE,
                             .era = (uint8_t)(heap.region->era + 1),
                             .older = heap.region};
    memset(slabs.pools, 0, sizeof slabs.pools); /* their lists may be half changed */
    slabs.empty = slabs.clean = NULL;
    slabs.next = slabs.end = NULL;
    heap.huges.spare = heap.huges.idle = NULL;
    self->lost |= self->busy || os_interrupted_us(); /* else heap_adopt finds it again */
    self_set(&heap_none);
    __atomic_store_n(&heap.region, fresh, __ATOMIC_RELEASE); /* last: others wait for it */
    return true;
}

/* ── fork ──────────────────────────────────────────────────────────────────── */

/* The child has one thread. The heaps of the parent's other threads are abandoned, and can be
 * adopted. But if a thread was in a slow path, the lists of its heap may be half changed: that heap
 * is lost, which means that no thread adopts it, and blocks freed to it are not reused. A fast path
 * of another thread does no such harm: wherever it stopped, at most one block is missing from its
 * page. But if a signal handler forked inside a fast path of this thread, that call continues when
 * the handler returns; so this thread's heap is then lost, too, and it begins another. */
static void heaps_forked(void) {
    for (struct heap *h = heap.heaps; h; h = h->next)
        if (h->busy || (h == self && os_interrupted_us()))
            h->lost = true;
        else
            life_init(&h->life);
    if (self != &heap_none && self->lost)
        self_set(&heap_none);
    else if (self != &heap_none)
        life_acquire(self);
}

__attribute__((constructor)) static void heaps_watch(void) {
    pthread_atfork(NULL, NULL, heaps_forked);
}

#include "sharded/look.h"

#include "abi.h"
