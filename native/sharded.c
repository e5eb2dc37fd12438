/* sharded.c: every thread owns its pages; no lock on the fast path.
 *
 * The idea: a page is 64 KiB cut into blocks of one class, with a free list of its
 * own. It belongs to the heap of one thread, and only that thread touches the list.
 *
 *      malloc(n)                                free(p)
 *        self ─> heap                             p ─> record of its page   (page.h)
 *        heap.direct[n / 16] ─> page              page.home == self?  a block begins
 *        page.free ─> block, if its link holds    at p?  not marked as free?  then
 *        page.free = block.next                   block.next = page.free; page.free = p
 *
 *      sharded.c          this story, the hot pair, threads, and the contract
 *      sharded/class.h    which sizes there are
 *      sharded/page.h     the record of a page, the way from a pointer to it, a free block
 *      sharded/region.h   where pages come from: address space, runs, giving back
 *      sharded/owner.h    heaps and their pages; blocks that other threads free
 *      sharded/large.h    blocks of more than 32 KiB
 *      sharded/huge.h     those of them that have a mapping of their own
 *      sharded/look.h     describing all that, and verifying it
 *
 * The price, in instructions: malloc 16, free 22, with every check below in it; 38 for a
 * pair of up to 1 KiB in whatever order, 52 of up to 32 KiB (tests/costs.test.ts). A block
 * that another thread frees costs about 40 more and a sixty-fourth of an atomic operation.
 * A block of more than 32 KiB: 100 if the thread keeps one of its length, and an atomic
 * operation unless it is the only thread; else a lock and some 200. A page of memory that is
 * touched for the first time: 0.25 µs, and 15 µs on some virtual machines. That is why so much
 * here is about touching few pages, and, once a heap has grown, about touching them by the
 * 2 MiB.
 *
 * What it catches, always: pointers that are not ours, or not the start of a block;
 * blocks freed twice, as long as they have not been handed out again; free blocks that
 * were written to, before their link is followed, and again before their page goes.
 *
 * Locking: 1. The region's lock guards the region, huge blocks, and the list of heaps.
 * Nothing is called under it that takes another. 2. A heap, its pages and their records
 * belong to its thread, and only its inbox is shared: a stack that everybody pushes to
 * and the owner empties. 3. Who finds, under the lock, that the thread of a heap has
 * ended is its owner from then on.
 *
 *     cc -O2 -g -std=gnu17 -fPIC -fvisibility=hidden -ftls-model=initial-exec -pthread \
 *        -fno-builtin -shared -Wl,-Bsymbolic -o libmalloc-sharded.so native/sharded.c
 */
#include "heap.h"

LIBMALLOC_VARIANT(4, sharded);

#include "sharded/huge.h"
#include "sharded/owner.h"

#define FOUR(x) x, x, x, x
#define SIXTY_FOUR(x)                                                                              \
    FOUR(x), FOUR(x), FOUR(x), FOUR(x), FOUR(x), FOUR(x), FOUR(x), FOUR(x), FOUR(x), FOUR(x),      \
        FOUR(x), FOUR(x), FOUR(x), FOUR(x), FOUR(x), FOUR(x)

/* What a thread has before its first call: a heap without pages. */
static struct heap heap_none = {.direct = {SIXTY_FOUR(NONE), NONE},
                                .current = {SIXTY_FOUR(NONE), FOUR(NONE), FOUR(NONE)}};
static_assert(DIRECT / 16 + 1 == 65 && CLASSES == 72, "as many as are written out there");
static __thread struct heap *self = &heap_none;

/* The dynamic linker writes what `self` begins with only after it has relocated the
 * program, and the resolvers of the program's indirect functions may allocate before.
 * Ours come first, and so we have one: it is there for what it does when it is asked. */
static void nothing(void) {}
static void (*self_early(void))(void) {
    self = &heap_none;
    return nothing;
}
static void early(void) __attribute__((ifunc("self_early")));
static void (*const asked)(void) UNUSED __attribute__((used)) = early;

static struct {
    struct region *region; /* the one in use: after a fork, perhaps another than the first */
    struct region original;
    struct heap first;   /* the main thread's: no mapping for a small program */
    struct heap *heaps;  /* all of them */
    struct heap *looked; /* where the search for one whose thread has ended goes on */
    bool watched;        /* our constructor has run */
    bool early;          /* the first heap is older: the main thread's for certain */
    struct huges huges;
    char *records, *records_end; /* memory for heaps and huges, between guards */
    size_t records_used;
} heap = {.region = &heap.original, .original.lock = LOCK_FREE};

/* The region in use, locked. Whoever was inside when a signal handler forked goes on in
 * the child with the one that he entered; others enter a fresh one (heap_freeze). */
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

/* ── records ───────────────────────────────────────────────────────────────── */

/* Memory for our own records, out of reach of any block that overflows. */
static void *record_make(size_t size) {
    size = round_up(size, 64);
    if ((size_t)(heap.records_end - heap.records) < size) {
        char *guarded = os_reserve_readable(3 * GRANULE);
        if (!guarded || !os_commit(guarded + GRANULE, GRANULE))
            return os_refuse();
        heap.records = guarded + GRANULE;
        heap.records_end = heap.records + GRANULE;
    }
    heap.records += size;
    heap.records_used += size;
    return heap.records - size;
}

static bool heaps_relieve(void);

/* The runs that a thread keeps go back. The caller holds the lock. */
static void kept_give(struct region *r, struct heap *h) {
    for (unsigned i = 0; h->kept_granules && i < KEPT; i++)
        if (h->kept[i]) {
            run_give(r, page_at(h->kept[i]), i + 1, true);
            h->kept[i] = 0;
            h->kept_granules -= i + 1;
        }
}

/* A run for a page of that heap, or for a large block, if need be of what others give
 * back for it. NULL with errno ENOMEM. */
static struct page *region_take(uint32_t granules, struct heap *h) {
    struct page *run = NULL;
    for (int i = 0; i < 2 && !run && (i == 0 || heaps_relieve()); i++) {
        struct region *r = region_enter();
        enum area_kind kind = h ? heap_area(h) : large_area(r, granules);
        if (self->kept_granules && !run_find(r, granules, kind))
            kept_give(r, self);
        run = run_take(r, granules, kind);
        if (run)
            run->kind = PAGE_LARGE; /* until the caller has made what it is */
        region_leave(r);
    }
    return run;
}

#include "sharded/large.h"

/* ── heaps and threads ─────────────────────────────────────────────────────── */

static struct heap *heap_make(void) {
    struct heap *h = heap.heaps ? record_make(sizeof *h) : &heap.first;
    if (!h)
        return NULL;
    for (unsigned i = 0; i <= DIRECT / 16; i++)
        h->direct[i] = NONE;
    for (unsigned i = 0; i < CLASSES; i++)
        h->current[i] = NONE;
    h->lane = heap.heaps ? (heap.heaps->lane + 1u) % LANES : 0;
    h->next = heap.heaps;
    heap.heaps = h;
    return h;
}

static void direct_set(struct heap *h, unsigned class, struct page *page) {
    size_t size = class_size(class);
    h->current[class] = page;
    if (size <= DIRECT)
        for (size_t i = class ? class_size(class - 1) / 16 + 1 : 0; i <= size / 16; i++)
            h->direct[i] = page;
}

/* The page is current no more, for its own class and for those that borrow it. */
static void page_retire(struct heap *h, struct page *page) {
    for (unsigned class = 0; class <= page->class; class++)
        if (h->current[class] == page)
            direct_set(h, class, NONE);
}

static void page_drop(struct page *page) {
    struct heap *h = page->home;
    h->pages--;
    if (h->fresh[page->class] == page_number(page))
        h->fresh[page->class] = 0;
    for (uint32_t i = 1; i < page->granules; i++)
        page[i].kind = PAGE_GONE;
    struct region *r = region_enter();
    run_give(r, page, page->granules, true);
    region_leave(r);
}

/* Counts the blocks of a list; returns where it ends, or the first whose link is broken. */
static struct block *list_follow(struct page *page, struct block *b, uint32_t *count) {
    for (; page_holds(page, b) && block_is_linked(b, page) && *count <= page->extended; b = b->next)
        ++*count;
    return b;
}

/* Current pages without a live block go back to the region. */
static void heap_shed(struct heap *h) {
    for (unsigned i = 0; i < CLASSES; i++) {
        struct page *page = h->current[i];
        uint32_t frees = 0;
        list_follow(page, page->free, &frees);
        list_follow(page, page->back, &frees);
        if (page != NONE && frees == page->extended) {
            page_retire(h, page);
            page_drop(page);
        }
    }
}

/* Has its thread ended? There is no hook that would tell us in time and in order: a
 * pthread key is one less for the program, and other keys' destructors still call us
 * after ours; the C++ runtime's takes the dynamic linker's lock. But a heap may wait
 * for its next owner, so it will do to ask the kernel now and then. A heap of another
 * process, left behind by a fork that told nobody, may well be in use: never that. */
static bool heap_is_left(struct heap *h) {
    return h != &heap.first &&
           (h->thread == 0 ||
            (h->process == getpid() && os_thread_ended(h->process, h->thread))) &&
           !h->busy;
}

static void heap_take(struct heap *h, pid_t thread) {
    h->process = getpid();
    h->thread = thread;
}

/* A heap that nobody has any more, and its new owner has now; of all there are, the
 * next few are looked at. NULL if none of these is left. The caller holds the lock. */
static struct heap *heap_claim(pid_t thread) {
    for (unsigned i = 0; i < LOOKS && heap.heaps; i++) {
        struct heap *h = heap.looked ? heap.looked : heap.heaps;
        heap.looked = h->next;
        if (heap_is_left(h)) {
            heap_take(h, thread);
            return h;
        }
    }
    return NULL;
}

/* Everything on its way goes home, as far as this heap can see to it. */
static void heap_settle(struct heap *h) {
    bool busy = h->busy;
    heap_busy(h, true);
    outgoing_send_all(h);
    inbox_empty(h);
    heap_busy(h, busy);
}

/* The heap for a thread that has none yet: one that was left, as it is, or a new one.
 * NULL with errno ENOMEM. */
static struct heap *thread_begin(void) {
    struct region *r = region_enter();
    bool first = !heap.heaps; /* the main thread's, which nobody ever takes over */
    pid_t thread = first ? 0 : gettid();
    struct heap *h = NULL;
    if (!first) /* the main thread's `self` is lost when it allocated very early */
        h = heap.early && thread == getpid() && !heap.first.busy ? &heap.first : heap_claim(thread);
    heap.early |= first && !heap.watched;
    if (!h && (h = heap_make()) && !first)
        heap_take(h, thread);
    region_leave(r);
    if (!h)
        return NULL;
    self = h;
    heap_settle(h); /* what the last owner had collected pins others' pages */
    return h;
}

/* The owner puts its heap in order: pages without a live block and runs that it keeps
 * go back to the region. */
static void heap_tidy(struct heap *h) {
    heap_settle(h);
    bool busy = h->busy;
    heap_busy(h, true);
    heap_shed(h);
    struct region *r = region_enter();
    kept_give(r, h);
    region_leave(r);
    heap_busy(h, busy);
}

/* For the next owner to see all that was done here. */
static void heap_leave(struct heap *h) {
    struct region *r = region_enter();
    h->thread = 0;
    region_leave(r);
}

/* What comes home to a heap that was left finds nobody. So whoever is about to ask the
 * kernel for memory empties the inbox of one of them first. */
static void heap_visit(void) {
    struct region *r = region_enter();
    struct heap *h = heap.heaps->next ? heap_claim(gettid()) : NULL;
    region_leave(r);
    if (!h)
        return;
    heap_settle(h);
    heap_leave(h);
}

/* Does it to all heaps that were left. */
static void heaps_left(void (*act)(struct heap *)) {
    struct region *r = region_enter();
    struct heap *h = heap.heaps;
    region_leave(r);
    for (; h; h = h->next) {
        r = region_enter();
        bool left = h != self && heap_is_left(h);
        if (left)
            heap_take(h, gettid());
        region_leave(r);
        if (left) {
            act(h);
            heap_leave(h);
        }
    }
}

/* Before anybody is refused memory: what lies idle in this heap, and in all that were
 * left, goes back to the region. False if there was none. */
static bool heaps_relieve(void) {
    size_t used = heap.region->used;
    if (self != &heap_none)
        heap_tidy(self);
    heaps_left(heap_tidy);
    return heap.region->used < used;
}

/* ── malloc ────────────────────────────────────────────────────────────────── */

/* Where classes grow, their pages come with memory: one call instead of 16 page faults. */
static void page_fault(struct page *page, struct heap *h, unsigned class) {
    if (page->dirty || heap_area(h) == DENSE)
        return;
    if (h->made[class] < GROWS)
        h->made[class]++;
    else
        os_populate(page_start(page), (size_t)page->granules << GRANULE_BITS);
}

static struct page *page_make(struct heap *h, unsigned class) {
    uint32_t granules = class_granules(class_size(class));
    enum area_kind kind = heap_area(h);
    struct region *r = region_enter();
    struct page *page = run_find(r, granules, kind) ? run_take(r, granules, kind) : NULL;
    if (page)
        page->kind = PAGE_LARGE; /* as in region_take */
    region_leave(r);
    if (!page) {
        outgoing_send_all(h);
        heap_visit();
        page = region_take(granules, h);
    }
    if (!page)
        return NULL;
    page_fault(page, h, class);
    page_open(page, h, class);
    h->pages++;
    return page;
}

static struct page *page_use(struct heap *h, struct page *page, unsigned class) {
    if (page) {
        if (page->listed) /* one with fresh blocks may be, too: twice in a list is a loop */
            list_remove(&h->partial[class], page);
        page->listed = false;
        page->budget = ENDLESS;
        page_ready(page);
    }
    direct_set(h, class, page ? page : NONE);
    return page;
}

/* A page with blocks that were never handed out. */
static struct page *page_fresh(struct heap *h, unsigned class) {
    struct page *page = h->fresh[class] ? page_at(h->fresh[class]) : NULL;
    if (!page || !page_extend(page)) {
        page = page_make(h, class);
        h->fresh[class] = page ? page_number(page) : 0;
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
    bool young = page && page->extended * size < os_page_size();
    if (!page || (!page_ready(page) && !(young && page_extend(page))))
        return NULL;
    direct_set(h, class, page);
    return page;
}

/* The current page has run out: what was freed elsewhere comes first, then what was never
 * handed out, so that no memory is touched while other memory lies idle. */
static struct page *page_next(struct heap *h, unsigned class) {
    struct page *page = h->current[class];
    inbox_empty(h);
    if (page_ready(page))
        return page;
    if (page != NONE && page->class == class) {
        if (!h->partial[class] && page_extend(page))
            return page;
        page_fill(page);
        page_retire(h, page);
    }
    if (h->partial[class])
        return page_use(h, page_at(h->partial[class]), class);
    if (page == NONE && !h->fresh[class] && (page = page_share(h, class)))
        return page;
    return page_fresh(h, class);
}

/* The first block, if its link holds. */
static inline void *page_pop(struct page *page) {
    struct block *b = page->free, *next = b->next;
    if (unlikely(!block_is_linked(b, page)))
        return NULL;
    page->free = next;
    b->check = 0; /* a live block bears no mark */
    return b;
}

static void *allocate_from(struct heap *h, unsigned class) {
    void *p;
    struct page *page = h->current[class];
    while (!(p = page_pop(page))) {
        must(page->free == &list_end, "malloc", "the free block %p was written to after its free",
             (void *)page->free);
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
                                 : large_allocate(GRANULE, size, &zero);
}

/* Beyond the short way: a class to compute first (30 instructions), or a run that the
 * thread keeps (100 instructions a pair). */
static __attribute__((noinline)) void *allocate_larger(size_t size) {
    struct heap *h = self;
    if (unlikely(size > SMALL)) {
        void *run = size <= (size_t)KEPT << GRANULE_BITS ? run_kept(h, run_granules(size)) : NULL;
        return run ? run : allocate_slowly(size);
    }
    unsigned class = class_index(size);
    void *p = page_pop(h->current[class]);
    if (likely(p))
        return p;
    return h == &heap_none ? allocate_slowly(size) : allocate_from(h, class);
}

/* The hot half: 16 instructions. */
static inline void *heap_allocate(size_t size) {
    if (unlikely(size > DIRECT))
        return allocate_larger(size);
    void *p = page_pop(self->direct[(size + 15) / 16]);
    return likely(p) ? p : allocate_slowly(size);
}

/* ── free ──────────────────────────────────────────────────────────────────── */

/* Does a block in use begin at this offset? */
static inline bool offset_begins(const struct page *page, uint16_t offset) {
    return offset * page->inverse <= page->limit;
}

/* The page of the block in use that begins at p: a larger one begins behind the first
 * granule, perhaps. NULL if none does. */
static inline struct page *page_begun(struct page *page, void *p) {
    bool same = page->kind == PAGE_SMALL && (size_t)((char *)p - page_start(page)) < GRANULE;
    if (likely(same && offset_begins(page, (uint16_t)(uintptr_t)p)))
        return page;
    page = page_first(page);
    if (page->kind != PAGE_SMALL || !page_holds(page, p))
        return NULL;
    uint32_t offset = (uint32_t)((char *)p - page_start(page));
    return offset % page->size == 0 && offset / page->size < page->extended ? page : NULL;
}

/* The page of a block in use, or we stop and say what the pointer is instead. */
static struct page *page_check(void *p, const char *call) {
    struct page *page = page_of(p);
    bool ours = table_mask && (size_t)((char *)p - page_start(page)) < GRANULE;
    page = page_first(page);
    if (ours && area_of(heap.region, p)) /* inside a large block, perhaps */
        while (page->kind == PAGE_NONE || page->kind == PAGE_GONE)
            page = page_first(page - 1);
    size_t offset = (size_t)((char *)p - page_start(page));
    must(ours && page->kind != PAGE_NONE, call, "%p is not a block of this heap", p);
    must(page->kind == PAGE_SMALL || page->kind == PAGE_LARGE, call, "%s of %p (its page is free)",
         freed_twice(call), p);
    size_t size = page->kind == PAGE_SMALL ? page->size : (size_t)page->granules << GRANULE_BITS;
    must(offset % size == 0, call, "%p is not a block: it lies %zu bytes into %p (%zu bytes)", p,
         offset % size, (void *)((char *)p - offset % size), size);
    must(page->kind == PAGE_LARGE || offset / size < page->extended, call,
         "%p is not a block: it was never handed out", p);
    return page;
}

/* Is the block in a list: of its page, of what comes home to its owner, or of what any
 * thread collects? */
static bool block_is_listed(struct page *page, struct block *b) {
    struct heap *home = page->home;
    bool listed = chain_lists(page, page->free, page->extended, b) ||
                  chain_lists(page, page->back, page->extended, b) ||
                  messages_list(home, atomic_load(&home->inbox), b);
    for (struct heap *h = heap.heaps; h && !listed; h = h->next)
        listed = heap_sends(h, page, b);
    return listed;
}

/* A block that looks free: the program's data may look like that, so nothing is said
 * before the block was found in a list. The owner's finding is exact: while it looks,
 * nothing is handed out. Another thread may be led astray, by a block that is handed out
 * and written to while it reads it, so it has to find the block several times. */
static COLD void block_suspect(struct page *page, struct block *b, const char *call) {
    for (int times = page->home == self ? 1 : CONFIRMATIONS; times > 0; times--) {
        if (!block_is_listed(page, b))
            return;
        if (times > 1)
            os_nap(1000000);
    }
    die(call, "%s of %p (%zu bytes)", freed_twice(call), (void *)b, (size_t)page->size);
}

static __attribute__((noinline)) void free_otherwise(void *p, struct page *record,
                                                    const char *call) {
    struct page *page = page_begun(record, p);
    if (unlikely(!page)) {
        if (!p || huge_free(p))
            return;
        page = page_check(p, call);
    }
    struct heap *h = self;
    struct block *b = p;
    if (unlikely(block_looks_free(b, page)))
        block_suspect(page, b, call);
    if (h == &heap_none && !(h = thread_begin())) {
        message_send(page, b); /* no memory for a heap of our own */
        return;
    }
    heap_busy(h, true);
    if (page->home == h) {
        block_link(b, page->free, page);
        page->free = b;
        page_count(h, page, 1);
        inbox_empty(h);
    } else {
        collect(h, page, b);
    }
    heap_busy(h, false);
}

/* A large block, or one of another thread's page: on a short way. */
static __attribute__((noinline)) void free_slowly(void *p, struct page *page, const char *call) {
    struct heap *h = self;
    if (large_begins(page, p))
        large_free(p, page, call);
    else if (!page->home || page->home == h || unlikely(h == &heap_none) ||
             unlikely(!offset_begins(page, (uint16_t)(uintptr_t)p)) ||
             unlikely(((struct block *)p)->mark == MARK))
        free_otherwise(p, page, call);
    else
        collect(h, page, p);
}

static COLD void free_last(struct heap *h, struct page *page) {
    heap_busy(h, true);
    page_turn(h, page);
    inbox_empty(h); /* a thread may only free, and never run out of anything */
    heap_busy(h, false);
}

/* The other hot half: 22 instructions. NULL has a record without a home. */
static inline void heap_free(void *p, const char *call) {
    struct page *page = page_of(p);
    struct heap *h = self;
    struct block *b = p;
    if (unlikely(page->home != h) || unlikely(!offset_begins(page, (uint16_t)(uintptr_t)p)) ||
        unlikely(b->mark == MARK)) {
        free_slowly(p, page, call);
        return;
    }
    block_link(b, page->free, page);
    page->free = b;
    if (unlikely(--page->budget == 0))
        free_last(h, page);
}

/* ── the rest of the contract ──────────────────────────────────────────────── */

static void *heap_allocate_zeroed(size_t size) {
    bool zero = false;
    void *p = size > SMALL ? large_allocate(GRANULE, size, &zero) : heap_allocate(size);
    return p && !zero ? memset(p, 0, size) : p;
}

/* Pages begin at a multiple of 64 KiB, so blocks are as aligned as their size is; and the class
 * of a multiple of some power of two is a multiple of it, too. */
static void *heap_allocate_aligned(size_t alignment, size_t size) {
    bool zero;
    size_t room = round_up(size + !size, alignment);
    if (room <= SMALL)
        return heap_allocate(room);
    return large_allocate(alignment > GRANULE ? alignment : GRANULE,
                          size > SMALL ? size : SMALL + 1, &zero);
}

static size_t heap_usable(void *p, const char *call) {
    struct page *record = page_of(p), *page = page_begun(record, p);
    if (unlikely(!page)) {
        if (large_begins(record, p))
            return (size_t)record->granules << GRANULE_BITS;
        size_t size = huge_usable(p);
        if (size)
            return size;
        page = page_check(p, call);
    }
    if (unlikely(block_looks_free(p, page)))
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
    void *new = large_allocate(GRANULE, size, &fresh);
    if (new && fresh)
        os_populate(new, copied);
    return new;
}

static __attribute__((noinline)) void *resize_slowly(void *p, size_t size, const char *call) {
    size_t old = heap_usable(p, call), copied = size < old ? size : old;
    void *new = size <= old && size >= old / 2 ? p : large_resize(p, old, size);
    if (new)
        return new;
    /* what has grown so far grows on: from now on without copying, in huge pages */
    if (size > old && old >= GROWN && (new = huge_allocate(GRANULE, round_up(size, HUGE_PAGE))))
        os_make_huge(new, round_up(size, HUGE_PAGE));
    if (!new)
        new = resize_allocate(size, copied);
    if (!new)
        return size <= old ? p : NULL;
    memcpy(new, p, copied);
    heap_free(p, call);
    return new;
}

/* What is appended to piece by piece mostly has the room: a short way that asks what free
 * asks (a block in use begins there, and does not look free), and leaves it where it is. */
static inline void *heap_resize(void *p, size_t size, const char *call) {
    struct page *page = page_of(p);
    bool stays = page->kind == PAGE_SMALL && offset_begins(page, (uint16_t)(uintptr_t)p) &&
                 page->size - size <= page->size / 2 && ((struct block *)p)->mark != MARK;
    return likely(stays) ? p : resize_slowly(p, size, call);
}

static size_t heap_trim(size_t pad) {
    (void)pad;
    if (self != &heap_none) {
        heap_tidy(self);
        heap_visit();
    }
    struct region *r = region_enter();
    size_t gone = region_purge(r, UINT64_MAX, SIZE_MAX);
    region_leave(r);
    return gone << GRANULE_BITS;
}

static size_t heap_overhead(void) {
    struct region *r = region_enter();
    size_t records = heap.records_used;
    region_leave(r);
    return sizeof heap + records;
}

/* By a walk, which a signal handler must not begin: it may have interrupted our own thread. */
static bool heap_count(struct libmalloc_stats *out, bool patient) {
    return patient && heap_tally(out, patient);
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
    heap.records = heap.records_end = NULL; /* one may be set and the other not */
    heap.huges.spare = NULL;
    self = &heap_none;
    return true;
}

/* ── fork ──────────────────────────────────────────────────────────────────── */

/* In the child no other thread is left, and their heaps are, unless one was in the slow
 * path: its lists may be half done, so it stays as it is, and what is freed there is
 * kept. The fast path of another thread needs no such care: at whatever instruction it
 * stopped, a block may be missing from its page, and nothing else. That of our own may go
 * on, if a signal handler forked inside of it and returns. A handler blocks its signal,
 * and nothing else tells: so whoever forks with a signal blocked begins a heap of his own
 * in the child. He would have had to copy the pages of the old one anyhow. */
static void heaps_forked(void) {
    for (struct heap *h = heap.heaps; h; h = h->next)
        h->thread = 0;
    if (self == &heap_none)
        return;
    self->process = getpid();
    self->thread = gettid();
    if (self->busy || os_blocks_signals()) {
        self->busy = true;
        self = &heap_none;
    }
}

__attribute__((constructor)) static void heaps_watch(void) {
    pthread_atfork(NULL, NULL, heaps_forked);
    heap.watched = true;
}

#include "sharded/look.h"

#include "abi.h"
