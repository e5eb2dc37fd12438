/* sharded.c: every thread owns its pages; no lock on the fast path.
 *
 * The idea: a page is 64 KiB cut into blocks of one class. Which of them are free stands on a
 * stack in the page's record. It belongs to the heap of one thread, and only that thread
 * touches the stack.
 *
 *      malloc(n)                                free(p)
 *        self ─> heap                             p ─> record of its page   (page.h)
 *        heap.direct[n / 16] ─> page              a block of this thread's begins at p?
 *        the uppermost block of its stack,        it is not marked as free?  then p is
 *        if it is marked as free                  marked, and goes on the stack
 *
 *      sharded.c          this story, the hot pair, threads, and the contract
 *      sharded/class.h    which sizes there are
 *      sharded/page.h     the record of a page, the way from a pointer to it, a free block
 *      sharded/record.h   memory for records
 *      sharded/arena.h    memory from the kernel, and the map that covers it
 *      sharded/region.h   runs of granules: handing out, taking back, giving back
 *      sharded/owner.h    heaps and their pages; blocks that other threads free
 *      sharded/sweep.h    memory that goes back from inside of pages in use
 *      sharded/thread.h   heaps and threads: beginning, adopting, flushing; ticks
 *      sharded/large.h    blocks of more than 32 KiB
 *      sharded/huge.h     those of them that have a mapping of their own
 *      sharded/look.h     describing all that, and verifying it
 *
 * The price, in instructions: malloc 19, free 23, with every check below in it: 42 for a pair
 * of up to 1 KiB in whatever order, 61 of up to 8 KiB, 76 of up to 32 KiB (callgrind, the workload
 * `tight`; tests/native/costs.test.ts holds bounds). A block that another thread frees costs some
 * 45 more, and a part of two atomic operations. A block of more than 32 KiB: 105 if the thread keeps one of its length, and an atomic operation unless it is the only thread;
 * else a lock and some 300.
 * A page of memory that is touched for the first time: 0.25 µs, and 15 µs on some virtual
 * machines. That is why so much here is about touching few pages, and, once a heap has grown,
 * about touching them by the 2 MiB.
 *
 * What it catches, always: pointers that are not ours, or not the start of a block;
 * blocks freed twice, as long as they have not been handed out again; free blocks whose first
 * bytes were written to, before they are handed out, and again before their page goes. One
 * exception: a free block whose memory went back (sweep.h) bears no mark. Its second free is
 * found only when malloc comes to it, and not at all if it was handed out meanwhile and begins
 * with 8 zero bytes then.
 *
 * Locking: 1. The region's lock guards the region, records, huge blocks, and the list of heaps.
 * Nothing is called under it that takes another. 2. A heap, its pages and their records
 * belong to its thread. Shared are the list `pending` of a heap and the word `remote` of a page,
 * with the places behind it: any thread adds, the owner takes. 3. A thread owns the heaps whose
 * `life` it holds; it never waits for one.
 *
 *     cc -O2 -g -std=gnu17 -fPIC -fvisibility=hidden -ftls-model=initial-exec -pthread \
 *        -fno-builtin -shared -Wl,-Bsymbolic -o libmalloc-sharded.so native/sharded.c
 */
#include "heap.h"

LIBMALLOC_VARIANT(4, sharded);

#include "sharded/huge.h"
#include "sharded/sweep.h"

/* The main thread's heap and the first region: no mapping for a small program, and no bytes in the
 * library's file, which would be read and copied page by page. */
static struct heap first_heap;
static struct region first_region; /* of zeroes its lock is a free one */

static struct {
    struct region *region; /* the one in use: after a fork, perhaps another than the first */
    struct heap *heaps;    /* all of them; the last one adopted comes first */
    struct heap *newest;   /* the same, by age */
    struct heap *looked;   /* where the search for an abandoned one goes on */
    struct huges huges;
} heap = {.region = &first_region};

/* The region in use, locked. A thread that was inside when a signal handler forked goes on in
 * the child with the region that it entered; others enter a fresh one (heap_freeze). */
static struct region *region_enter(void) {
    struct region *r;
    do
        r = heap.region;
    while (!lock_take(&r->lock));
    return r;
}

static void region_leave(struct region *r) {
    lock_drop(&r->lock);
}

#include "sharded/large.h"

#include "sharded/thread.h"

/* ── malloc ────────────────────────────────────────────────────────────────── */

/* Where classes grow, their pages come with memory: one call instead of 16 page faults. */
static void page_fault(struct page *page, struct heap *h, unsigned class) {
    if (page->dirty || page->area == DENSE)
        return;
    if (h->made[class] < GROWS)
        h->made[class]++;
    else
        os_populate(page->start, page_length(page));
}

/* A run for a page of that class. `more`: also if the region has to grow for it. */
static struct page *page_take(struct heap *h, unsigned class, bool more) {
    uint32_t granules = class_granules(class_size(class));
    struct region *r = region_enter();
    struct page *page = NULL;
    if (near_open(r) && (more || run_find(r, granules, heap_area(h))) &&
        (page = record_make(&slabs.lanes[h->lane], class)) &&
        !run_take(r, granules, heap_area(h), page)) {
        record_free(page);
        page = NULL;
    }
    region_leave(r);
    return page;
}

static struct page *page_make(struct heap *h, unsigned class) {
    struct page *page = page_take(h, class, false);
    if (!page) { /* nothing is free: first look what waits in batches and abandoned heaps */
        batches_send(h);
        heap_reclaim_one();
        page = page_take(h, class, true);
    }
    if (!page && heaps_reclaim())
        page = page_take(h, class, true);
    if (!page)
        return os_refuse();
    page_fault(page, h, class);
    page_open(page, h, class);
    h->pages++;
    return page;
}

static struct page *page_use(struct heap *h, struct page *page, unsigned class) {
    if (page) {
        if (page->listed) /* one with fresh blocks may be, too: twice in a list is a loop */
            partial_remove(h, page);
        page->budget = TICK;
        if (atomic_load_explicit(&page->remote, memory_order_relaxed) & REMOTE_FULL)
            atomic_fetch_and_explicit(&page->remote, ~REMOTE_FULL, memory_order_relaxed);
    }
    direct_set(h, class, page ? page : NONE);
    return page;
}

/* A page with blocks that were never handed out. */
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

/* A class that is asked for the first time costs a page fault, a small program has many
 * classes, and a page fault costs more than a hundred calls of malloc. So in a heap of
 * few pages the sizes up to a power of two share the first 4 KiB of its page, or its first
 * block where that is longer. */
static struct page *page_share(struct heap *h, unsigned class) {
    size_t size = ALIGNMENT;
    while (size < class_size(class))
        size *= 2;
    unsigned shared = class_index(size);
    if (h->pages >= FEW || shared == class)
        return NULL;
    struct page *page = h->current[shared];
    if (page == NONE || page->class != shared)
        page = page_fresh(h, shared);
    bool young = page && page->carved * size < os_page_size();
    if (!page || (!page->count && !(young && page_carve(page))))
        return NULL;
    direct_set(h, class, page);
    return page;
}

/* The current page has run out: what other threads freed comes first, then what was never
 * handed out, so that no memory is touched while other memory is idle. */
static struct page *page_next(struct heap *h, unsigned class) {
    struct page *page = h->current[class];
    if (++h->slow % SLOW == 0)
        heap_tick(h);
    heap_drain(h);
    if (page->count)
        return page;
    if (page != NONE && page->class == class) {
        if (!h->partial[class] && page_carve(page))
            return page;
        page_retire(h, page);
        page_rest(page);
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
        must(!page->count || page_revive(h, page), "malloc", "the free block %p was written to after its free",
             (void *)page->top);
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

/* Beyond the short way: a class to compute first, or a run that the thread keeps. */
static __attribute__((noinline)) void *allocate_larger(size_t size) {
    struct heap *h = self;
    if (unlikely(size > SMALL)) {
        void *run = size <= KEPT_MOST ? run_kept(h, size) : NULL;
        return run ? run : allocate_slowly(size);
    }
    unsigned class = class_index_long(size);
    struct page *page = h->current[class];
    void *p = size > NARROW ? page_pop(page, WIDE) : page_pop(page, 0);
    if (likely(p))
        return p;
    return h == &heap_none ? allocate_slowly(size) : allocate_from(h, class);
}

/* The hot half of malloc. */
static inline void *heap_allocate(size_t size) {
    if (unlikely(size > DIRECT))
        return allocate_larger(size);
    void *p = page_pop(self->direct[(size + 15) / 16], 0);
    return likely(p) ? p : allocate_slowly(size);
}

/* ── free ──────────────────────────────────────────────────────────────────── */

/* What a pointer is: the record of the block in use that begins there, of a small page or a large
 * run; or we stop and say what it is instead. */
static struct page *block_check(void *p, const char *call) {
    struct page *page = page_of(p);
    if (page_begins(page, p) || large_begins(page, p))
        return page;
    bool held = page_holds(page, p);
    must(held || arena_of(p), call, "%p is not a block of this heap", p);
    must(held && (page->kind == PAGE_SMALL || page->kind == PAGE_LARGE), call,
         "%s of %p (its page is free)", freed_twice(call), p);
    size_t size = page->kind == PAGE_SMALL ? page->size : (size_t)(page_end(page) - page->base);
    size_t offset = (size_t)((char *)p - page->base);
    must((char *)p >= page->base && offset % size == 0, call,
         "%p is not a block: it lies %zu bytes into %p (%zu bytes)", p, offset % size,
         (void *)((char *)p - offset % size), size);
    die(call, "%p is not a block: it was never handed out", p);
}

/* A block that is marked: the program's data may look like that, so we report only after the
 * block was found among the free ones. The owner's finding is exact: while it looks, nothing is
 * handed out. Another thread may read a list that changes, so it has to find the block several
 * times. */
static COLD void block_suspect(struct page *page, void *p, const char *call) {
    uint16_t place = page_place(page, p);
    for (int times = page->home == self ? 1 : CONFIRMATIONS; times > 0; times--) {
        bool listed = page_lists(page, place);
        struct heap *h = __atomic_load_n(&heap.newest, __ATOMIC_ACQUIRE);
        for (; h && !listed; h = h->older)
            listed = heap_holds(h, page, place);
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
    if (h == &heap_none && !(h = thread_begin())) { /* no memory for a heap of our own */
        errno = saved;
        uint16_t place = page_place(page, p);
        block_mark(p);
        page_return(page, &place, 1);
        return;
    }
    if (page->home != h) {
        collect(h, page, p);
        return;
    }
    heap_busy(h, true);
    page_push(page, p, page_place(page, page->top));
    page_count(h, page, 1);
    heap_busy(h, false);
}

static COLD void free_last(struct page *page) {
    struct heap *h = self;
    heap_busy(h, true);
    page_turn(h, page);
    heap_drain(h); /* a thread may only free, and never run out of anything */
    heap_busy(h, false);
}

/* A block of another thread's page, a large one, or none. */
static __attribute__((noinline)) void free_remote(void *p, struct page *page, const char *call) {
    if (unlikely(!page_begins(page, p)) || unlikely(block_is_marked(p)) ||
        unlikely(self == &heap_none)) {
        if (large_begins(page, p))
            large_free(p, page, call);
        else
            free_otherwise(p, call);
        return;
    }
    collect(self, page, p);
}

/* A block of a page of several granules, of another thread's page, or none. */
static __attribute__((noinline)) void free_slowly(void *p, struct page *page, const char *call) {
    struct heap *h = self;
    if (page->home != h) {
        free_remote(p, page, call);
        return;
    }
    if (unlikely(!page_begins(page, p)) || unlikely(block_is_marked(p))) {
        free_otherwise(p, call);
        return;
    }
    page_push(page, p, (uint16_t)((size_t)((char *)page->top - page->start) >> WIDE));
    if (unlikely(--page->budget == 0))
        free_last(page);
}

/* The other hot half. NULL has no record that holds it. */
static inline void heap_free(void *p, const char *call) {
    struct page *page = page_of(p);
    if (unlikely(!page_begins_for(page, p, self_tag)) || unlikely(block_is_marked(p))) {
        free_slowly(p, page, call);
        return;
    }
    page_push(page, p, (uint16_t)(uintptr_t)page->top);
    if (unlikely(--page->budget == 0))
        free_last(page);
}

/* ── the rest of the contract ──────────────────────────────────────────────── */

static void *heap_allocate_zeroed(size_t size) {
    bool zero = false;
    void *p = size > SMALL ? large_allocate(64, size, &zero) : heap_allocate(size);
    return p && !zero ? memset(p, 0, size) : p;
}

/* Pages begin at a multiple of 64 KiB, so blocks are as aligned as their size is; and the class
 * of a multiple of some power of two is a multiple of it, too. */
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

/* A block for what is copied into it: `copied` bytes at once. What grows by little has room for
 * a quarter more, or it would soon be copied again. NULL with errno ENOMEM. */
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

/* Does a block stay as it is? A large one gives back a quarter or more: less may be room that it got
 * for growing. */
static bool resize_stays(size_t old, size_t size) {
    bool large = old > SMALL && size > SMALL;
    return size <= old && size >= (large ? old / 4 * 3 : old / 2);
}

static __attribute__((noinline)) void *resize_slowly(void *p, size_t size, const char *call) {
    size_t old = heap_usable(p, call), copied = size < old ? size : old;
    void *new = resize_stays(old, size) ? p : large_resize(p, old, size);
    if (!new && size > old)
        new = large_move(p, old, size, call);
    if (new)
        return new;
    new = resize_allocate(size, copied);
    if (!new)
        return size <= old ? p : NULL;
    memcpy(new, p, copied);
    heap_free(p, call);
    return new;
}

/* What is appended to piece by piece mostly has the room: a short way that asks what free
 * asks (a block in use begins there, and is not marked), and leaves it where it is. */
static inline void *heap_resize(void *p, size_t size, const char *call) {
    struct page *page = page_of(p);
    bool stays = page_begins(page, p) && page->size - size <= page->size / 2 &&
                 !block_is_marked(p);
    return likely(stays) ? p : resize_slowly(p, size, call);
}

static size_t heap_trim(size_t pad) {
    (void)pad;
    size_t gone = heaps_reclaim(), inside = heaps_do(heap_empty);
    struct region *r = region_enter();
    struct huge *idle = huge_aged(&heap.huges, now_ms(), 0);
    gone += idle ? idle->length >> GRANULE_BITS : 0;
    region_leave(r);
    huge_drop(idle);
    return (gone << GRANULE_BITS) + inside;
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

/* A region of another era; records of the old one's pages stay, and what is freed
 * there never returns to it. */
static bool heap_freeze(void) {
    struct region *fresh = os_map(sizeof *fresh);
    if (!fresh)
        return false;
    *fresh = (struct region){.lock = LOCK_FREE,
                             .era = (uint8_t)(heap.region->era + 1),
                             .older = heap.region};
    heap.region = fresh;
    heap.looked = NULL;
    memset(slabs.lanes, 0, sizeof slabs.lanes); /* a list of theirs may be half done */
    slabs.empty = slabs.clean = NULL;
    slabs.next = slabs.end = NULL;
    heap.huges.spare = heap.huges.idle = NULL;
    self_set(&heap_none);
    return true;
}

/* ── fork ──────────────────────────────────────────────────────────────────── */

/* In the child no other thread is left. Their heaps are abandoned, unless one was in the slow
 * path: its lists may be half done, so it stays as it is, and what is freed there is kept. The
 * fast path of another thread needs no such care: at whatever instruction it stopped, a block may
 * be missing from its page, and nothing else. That of our own may go on, if a signal handler
 * forked inside of it and returns; then this thread begins another heap. */
static void heaps_forked(void) {
    for (struct heap *h = heap.heaps; h; h = h->next)
        if (h->busy || (h == self && os_interrupted_us()))
            h->lost = true;
        else
            life_begin(&h->life);
    if (self != &heap_none && self->lost)
        self_set(&heap_none);
    else if (self != &heap_none)
        life_take(self);
}

__attribute__((constructor)) static void heaps_watch(void) {
    pthread_atfork(NULL, NULL, heaps_forked);
}

#include "sharded/look.h"

#include "abi.h"
