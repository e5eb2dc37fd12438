/* owner.h: heaps, each owned by a thread; their pages; and blocks that other threads free.
 *
 *      thread A                               thread B frees a block of A's
 *      heap A                                 heap B
 *      ├ current[class] ─> page               └ batches: the blocks of one page each ──┐
 *      ├ partial[class] ─> page ─> page                                                │
 *      └ pending ─> page ─> page <── the first batch returned links the page here ─────┤
 *                    │                                                                 │
 *                    └ stack: │ own free blocks ─>        <─ freed by other threads │ <┘
 *
 * Only the owner changes its pages. A thread that frees another thread's block puts it in a batch,
 * at most BATCHED bytes in all batches, and returns each batch to the far end of the page's stack.
 * The two ends never meet, because a block is in one of them at most. Only the owner hands the
 * blocks out again, so threads do not come to share cache lines this way. The owner drains its
 * pending pages, DRAINS at a time, whenever one of its pages runs out.
 *
 * A full page has no free block, and is in no list of its owner until some are freed. If other
 * threads return all of its blocks while the owner does not drain, the last of them gives the page
 * back to the region, so that a sleeping owner holds few empty pages. When a thread has ended, the
 * next thread that begins adopts its heap with all its pages.
 *
 *      fresh ── page_carve ──> on the stack ── malloc ──> live ── free ─┐
 *                                    ▲                                  │
 *                                    └──────────────────────────────────┘
 *
 * A page's `budget` is the number of frees until page_budget_spent has something to do; malloc
 * maintains no counter for it. The budget of a current page ends with a tick. A page that is not
 * current passes these stages, and its budget ends at the next one:
 *
 *      listed    enough of its blocks are free to be worth using again: it joins `partial`
 *      sparse    few of its blocks are live; then half as many, and so on
 *      dropped   none is live
 *
 *      live + count + remote + in batches = carved   for every page
 *      budget + count = goal                         for those that are not current
 */
#pragma once

#include "region.h"

enum {
    CONFIRMATIONS = 5,   /* of a double free, if the thread does not own the page */
    LOOKS = 4,           /* heaps at the front of the list, and others, that heap_adopt tries */
    BATCHES = 64,        /* pages of other threads for which a thread collects blocks */
    BATCH = 56,          /* blocks in a batch: it has two cache lines */
    BATCHED = 64 << 10,     /* bytes of other threads' blocks that a thread holds back in all */
    WAITING = 32,        /* an owner with more pending pages is taken to be asleep */
    DRAINED = 128,       /* blocks that one swap takes from a page's far end */
    DRAINS = 16,         /* pending pages that heap_drain drains, */
    REDRAINS = 4,        /* and how often it is called before a heap takes a fresh page */
    TICK = 4096,         /* frees to a current page between two ticks, */
    SLOW = 64,           /* and calls that find a current page empty */
    KEPT = 2,            /* granules of the longest run that a thread keeps */
    GROWS = 2,           /* fresh pages of a class after which the next are populated */
    FEW = 24,            /* in a heap of fewer pages, classes share pages */
    AT_ONCE = 16384,     /* bytes that are carved at a time from a page of dirty memory */
    WORTHWHILE = 16,     /* a page is used again when a sixteenth of it is free */
    SPARSE = 8,          /* it is sparse if at most 1 + an eighth of its carved blocks are live */
    SPARSE_LEAST = 64,   /* bytes; even an eighth of smaller blocks is in most pieces */
    SPARSE_RETAINED = 256, /* so many sparse pages, at least, keep their memory */
};

/* Blocks of one page of another heap, as places on its stack. A batch is filled from its end, so
 * that the block that was freed first is the last in it, and will lie uppermost on the stack. */
struct batch {
    struct page *page;
    uint16_t left, last; /* unused entries; the batch is full when only `last` of them are left */
    uint32_t bytes;
    uint16_t place[BATCH];
};
static_assert(sizeof(struct batch) == 128, "two cache lines");

struct heap {
    struct page *direct[DIRECT / 16 + 1]; /* current page by size / 16, rounded up */
    struct page *current[CLASSES];
    struct page *partial[CLASSES]; /* pages with free blocks that are not current */
    struct page *fresh[CLASSES];   /* the page that has uncarved blocks, current or not */
    struct page *kept[KEPT];       /* a freed run of each length */
    uint8_t made[CLASSES];         /* fresh pages made without populating them, up to GROWS */
    uint32_t pages;                /* of all classes */
    uint32_t batched, batched_was; /* bytes of the blocks in batches; the same at the last tick */
    uint32_t slow;                 /* slow calls: every SLOWth is a tick */
    uintptr_t tag;                 /* a number of its own: see page_begins_for */
    uint8_t pool;                  /* where records for its pages come from */
    bool busy;                     /* a slow path is in progress: lists may be half changed */
    bool inspected;                /* owned by the thread that describes or verifies all heaps */
    uint8_t sweeping;              /* the class that a sweep has reached; CLASSES: no sweep */
    bool lost;                     /* its lists may be half changed for ever: nobody adopts it */
    struct page *sweep;            /* the next page of that class to sweep */
    uint32_t sparse, sparse_more;  /* sparse pages; those beyond SPARSE_RETAINED that may stay so */
    uint64_t since;                /* when the interval of the last tick began, in ms */
    struct page *todo;             /* pages taken from `pending` that are not drained yet */
    struct heap *next;             /* in heap.heaps */
    struct heap *older;            /* in heap.newest: this order never changes */
    pthread_mutex_t life;          /* held by its owner as long as that thread lives */
    _Alignas(64) _Atomic(struct page *) pending; /* the line that other threads write */
    _Atomic(uint32_t) waiting; /* pages in `pending` and in `todo` */
    _Alignas(64) struct batch batches[BATCHES];
};

#define FOUR(x) x, x, x, x
#define SIXTEEN(x) FOUR(x), FOUR(x), FOUR(x), FOUR(x)
#define NONES SIXTEEN(NONE), SIXTEEN(NONE), SIXTEEN(NONE), SIXTEEN(NONE)

/* What a thread has before its first call: a heap without pages. */
static struct heap heap_none = {.direct = {NONES, NONE},
                                .current = {NONES, FOUR(NONE), FOUR(NONE)}};
static_assert(DIRECT / 16 + 1 == 65 && CLASSES == 72, "as many as are written out there");
static __thread struct heap *self = &heap_none;
static __thread uintptr_t self_tag; /* of that heap; 0 for heap_none */

static void self_set(struct heap *h) {
    self = h;
    self_tag = h->tag;
}

/* IFUNC resolvers in the program may call malloc before the linker initialises our TLS. Our
 * resolvers run first, so we define an IFUNC solely for its side effect: setting `self`. A
 * constructor calls it, because GNU ld crashes in clang's LTO if only a pointer refers to it. */
#ifdef __GLIBC__ /* musl has no IFUNC, and relocates everything before any code runs */
static void nothing(void) {}
UNUSED static void (*self_early(void))(void) {
    self_set(&heap_none);
    return nothing;
}
static void early(void) __attribute__((ifunc("self_early")));
__attribute__((constructor)) static void early_call(void) { early(); }
#endif

/* A signal handler may fork between any two stores. The fences keep the compiler from moving other
 * stores across this one. */
static inline void heap_busy(struct heap *h, bool busy) {
    atomic_signal_fence(memory_order_seq_cst);
    h->busy = busy;
    atomic_signal_fence(memory_order_seq_cst);
}

/* ── the life of an owner ──────────────────────────────────────────────────── */

/* A heap is abandoned when its thread has ended. A pthread key could tell us, but the program would
 * have one key less, and destructors of other keys still call us after ours. The C++ runtime's hook
 * takes the dynamic linker's lock. But the kernel marks each robust mutex that a thread held when
 * it ended, after the thread's very last call. So the owner of a heap holds such a mutex, and to
 * ask whether it lives costs a compare-and-swap, and no system call. The mutex is of the
 * error-checking type, so that a thread that lost `self` (it allocated before our relocation) gets
 * EDEADLK from its own heap, and so finds it. In a vfork child, libc's thread is the parent's, so
 * the child uses the heap of the parent. */
static void life_init(pthread_mutex_t *life) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(life, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

/* Makes this thread the owner of an abandoned heap: 0. EDEADLK if it is the owner already, EBUSY if
 * another thread is, or if the heap is lost. */
static int life_acquire(struct heap *h) {
    int error = h->lost ? EBUSY : pthread_mutex_trylock(&h->life);
    if (error == EOWNERDEAD) {
        pthread_mutex_consistent(&h->life);
        error = 0;
    }
    if (!error && h->busy) { /* its thread was cancelled inside malloc, asynchronously */
        h->lost = true;
        pthread_mutex_unlock(&h->life);
        error = EBUSY;
    }
    return error;
}

static void life_release(struct heap *h) {
    pthread_mutex_unlock(&h->life);
}

/* ── pages ─────────────────────────────────────────────────────────────────── */

/* Puts the next fresh blocks on the stack, 4096 bytes of them or one block, so that memory is
 * touched shortly before it is used; AT_ONCE bytes if the memory is there already. */
static bool page_carve(struct page *page) {
    size_t size = page->size;
    uint32_t room = (uint32_t)page->capacity - page->carved;
    uint32_t reach = page->dirty ? AT_ONCE : 4096, count = size < reach ? reach / page->size : 1;
    if (count > room)
        count = room;
    if (!count)
        return false;
    char *first = page->start + page->carved * size;
    page_places(page);
    uint16_t *place = page->stack + page->count;
    for (uint32_t i = count; i-- > 0;) {
        block_mark(first + i * size);
        *++place = page_place(page, first + i * size);
    }
    page->count += count;
    page->top = (struct block *)first;
    page_set_carved(page, page->carved + count);
    return true;
}

static void page_open(struct page *page, struct heap *h, unsigned class) {
    size_t size = class_size(class);
    page->size = (uint32_t)size;
    page->shift = size > NARROW ? WIDE : 0;
    page->inverse = UINT64_MAX / size + 1 + !(size & (size - 1));
    page->capacity = (uint16_t)(page_length(page) / size);
    page->count = 0;
    page->listed = page->sparse = false;
    page->purged = page->seen = page->swept = 0;
    page_set_carved(page, 0);
    atomic_store_explicit(&page->remote, 0, memory_order_relaxed);
    page->owner = h;
    page->origin = (page->shift ? NOBODY : h->tag) - (uintptr_t)page->start;
    page_publish(page, PAGE_SMALL); /* last, because another thread's walk then reads the rest */
}

static void page_drop(struct heap *h, struct page *page);

/* No block of the page is live, so all must carry the mark. One without it was written to after its
 * free; or it is live, and another block was counted as free twice (freed, written to, freed). This
 * is the last chance to notice, and cheap, because the processor prefetches blocks that are read in
 * address order. */
static void page_verify_empty(struct page *page) {
    size_t size = page->size;
    for (uint32_t i = 0; i < page->carved; i++) {
        char *b = page->start + i * size;
        must((page->purged && page_is_purged(page, i * size / os_page_size())) ||
                 block_is_whole(b), "free",
             "the free block %p was written to after its free", (void *)b);
    }
}

static uint32_t page_wanted(const struct page *page) {
    uint32_t wanted = page->carved / WORTHWHILE;
    return wanted ? wanted : 1;
}

/* Sets the first budget of a page that is not current any more: the frees until it is worth using
 * again. One free is not enough, because each time that a page runs out costs a slow path. */
static void page_await_frees(struct page *page) {
    page->listed = false;
    page->goal = (uint16_t)page_wanted(page);
    page->budget = page->goal;
    if (page->carved == page->capacity)
        atomic_fetch_or_explicit(&page->remote, REMOTE_FULL, memory_order_release);
}

static void heap_tick(struct heap *h);

/* The `count` from which on a page is sparse: memory between its live blocks may be purged. */
static uint32_t page_sparse_from(const struct page *page) {
    uint32_t carved = page->carved;
    return page->size >= SPARSE_LEAST ? carved - carved / SPARSE - (carved >= SPARSE) : carved;
}

static void partial_remove(struct heap *h, struct page *page) {
    h->sparse -= page->sparse;
    page->sparse = false;
    if (h->sweep == page)
        h->sweep = page->next;
    list_remove(&h->partial[page->class], page);
    page->listed = false;
}

static uint32_t page_sweep(struct page *page);
static void heap_sweep(struct heap *h, bool begin, bool torn);

/* The page is sparse, or sparser than before. If more than SPARSE_RETAINED + sparse_more pages and
 * more than a quarter of the heap's pages are sparse, the program is tearing down its data and may
 * never call us again, so we purge the free memory of sparse pages at once. If such memory is soon
 * wanted again, page_revive raises `sparse_more`. */
static void page_became_sparse(struct heap *h, struct page *page, uint32_t goal) {
    h->sparse += !page->sparse;
    page->sparse = true;
    page->goal = (uint16_t)goal;
    if (h->sparse > SPARSE_RETAINED + h->sparse_more && h->sparse > h->pages / 4) {
        page_sweep(page);
        heap_sweep(h, true, true);
    }
}

/* Does what is due when the budget is spent. True if the page was dropped. */
static bool page_budget_spent(struct heap *h, struct page *page) {
    if (h->current[page->class] == page) {
        page->budget = TICK;
        heap_tick(h);
    } else if (!page->listed) {
        uint32_t goal = page_sparse_from(page);
        page->listed = true;
        page->budget = goal - page->goal;
        page->goal = (uint16_t)goal;
        list_push(&h->partial[page->class], page);
        if (page->budget == 0)
            return page_budget_spent(h, page);
    } else if (page->goal < page->carved) {
        page->budget = (page->carved - page->goal + 1u) / 2;
        page_became_sparse(h, page, page->goal + page->budget);
    } else {
        partial_remove(h, page);
        page_verify_empty(page);
        page_drop(h, page);
        return true;
    }
    return false;
}

/* Counts `count` blocks of the page that have become free. */
static void page_count(struct heap *h, struct page *page, uint32_t count) {
    while (count >= page->budget) {
        count -= page->budget;
        if (page_budget_spent(h, page))
            return;
    }
    page->budget -= count;
}

/* ── blocks that other threads free ────────────────────────────────────────── */

static inline uint32_t remote_reserved(uint64_t word) { return word & 0xffff; }
static inline uint32_t remote_filled(uint64_t word) { return word >> 16 & 0xffff; }

/* The number of entries that may be read: none while one is reserved that is not filled. */
static inline uint32_t remote_stable(uint64_t word) {
    return remote_reserved(word) == remote_filled(word) ? remote_filled(word) : 0;
}

static void pending_push(struct heap *h, struct page *page) {
    atomic_fetch_add_explicit(&h->waiting, 1, memory_order_relaxed);
    struct page *first = atomic_load_explicit(&h->pending, memory_order_relaxed);
    do
        page->pending = first;
    while (!atomic_compare_exchange_weak_explicit(&h->pending, &first, page, memory_order_release,
                                                  memory_order_relaxed));
}

static void page_release_empty(struct page *page, char *start, uint64_t word);
static void record_return(struct page *page);

/* Not memcpy: with an unknown length that is a call, or an instruction that is slow to start. */
static inline void places_copy(uint16_t *to, const uint16_t *from, uint32_t count) {
    for (; count >= 4; count -= 4, to += 4, from += 4)
        memcpy(to, from, 4 * sizeof *to);
    while (count-- > 0)
        *to++ = *from++;
}

/* Pushes places onto the stack: the last one becomes the top. */
static void places_push(struct page *page, const uint16_t *place, uint32_t count) {
    page_places(page);
    places_copy(page->stack + page->count + 1, place, count);
    page->count += count;
    page->top = (struct block *)page_block(page, place[count - 1]);
}

/* Returns blocks to the owner of their page; `place` begins with the one freed last. The one freed
 * first will lie uppermost on the stack, so malloc hands them out in the order of their frees. That
 * is mostly their order in memory, so processors prefetch the next one. */
static void page_return(struct page *page, const uint16_t *place, uint32_t count) {
    uint64_t word = atomic_load_explicit(&page->remote, memory_order_relaxed), next;
    do
        next = (word + count * (uint64_t)REMOTE_RESERVED) | REMOTE_PENDING;
    while (!atomic_compare_exchange_weak_explicit(&page->remote, &word, next, memory_order_acquire,
                                                  memory_order_relaxed));
    must(remote_reserved(word) + count <= page->capacity, "free",
         "more blocks of the page at %p are freed than there are", (void *)page->start);
    places_copy(page_far_end(page) - remote_reserved(word) - count, place, count);
    uint64_t filled = count * (uint64_t)REMOTE_FILLED;
    struct heap *owner = page->owner;
    char *start = page->start;
    next = atomic_fetch_add_explicit(&page->remote, filled, memory_order_acq_rel) + filled;
    if (!(word & REMOTE_PENDING))
        pending_push(owner, page);
    if ((next & REMOTE_FULL) && remote_filled(next) == page->capacity &&
        atomic_load_explicit(&owner->waiting, memory_order_relaxed) > WAITING)
        page_release_empty(page, start, next);
}

/* Moves blocks that other threads freed from the far end of the stack to the near one, those freed
 * last first, so that those freed first lie uppermost. They leave the far end before they are
 * pushed: then at most as many more can arrive there as there are live blocks, and both ends fit.
 * False while another thread has reserved entries and not filled them: the page stays pending. */
static bool page_drain(struct heap *h, struct page *page) {
    uint64_t word = atomic_load_explicit(&page->remote, memory_order_acquire), next;
    uint32_t total = 0;
    bool stable;
    while ((stable = remote_reserved(word) == remote_filled(word)) && remote_filled(word)) {
        uint16_t taken[DRAINED];
        uint32_t filled = remote_filled(word), count = filled < DRAINED ? filled : DRAINED;
        must(page->count + filled <= page->carved, "free",
             "more blocks of the page at %p are freed than there are", (void *)page->start);
        places_copy(taken, page_far_end(page) - filled, count);
        next = count == filled ? 0
                               : (word - count * (uint64_t)(REMOTE_RESERVED + REMOTE_FILLED)) &
                                     ~REMOTE_FULL;
        /* release: we have read the places and `pending` before other threads reuse them */
        if (!atomic_compare_exchange_weak_explicit(&page->remote, &word, next,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        places_push(page, taken, count);
        total += count;
        if (!(word = next))
            break;
    }
    if (word & REMOTE_TAKEN) { /* perhaps since the last load of the word */
        h->pages--;
        if (h->fresh[page->class] == page)
            h->fresh[page->class] = NULL;
        record_return(page);
    } else if (total) {
        page_count(h, page, total);
    }
    return stable;
}

/* Drains up to DRAINS pending pages. One that cannot be drained right now is pending again. False
 * if there was none left. */
static bool heap_drain(struct heap *h) {
    for (unsigned i = 0; i < DRAINS; i++) {
        if (!h->todo) {
            if (!atomic_load_explicit(&h->pending, memory_order_relaxed))
                return false;
            h->todo = atomic_exchange_explicit(&h->pending, NULL, memory_order_acquire);
        }
        struct page *page = h->todo;
        h->todo = page->pending;
        atomic_fetch_sub_explicit(&h->waiting, 1, memory_order_relaxed);
        if (!page_drain(h, page))
            pending_push(h, page);
    }
    return true;
}

/* Returns the blocks of a batch, which may have none. */
static void batch_send(struct heap *h, struct batch *b) {
    if (!b->page)
        return;
    struct page *page = b->page;
    b->page = NULL;
    h->batched -= b->bytes;
    page_return(page, b->place + b->left, BATCH - b->left);
}

/* Sends the batch with most bytes: the heap holds more than BATCHED. */
static void batch_send_largest(struct heap *h) {
    struct batch *largest = h->batches;
    for (struct batch *b = h->batches; b < h->batches + BATCHES; b++)
        if (b->page && (b->bytes > largest->bytes || !largest->page))
            largest = b;
    batch_send(h, largest);
}

/* Sends all batches of a heap. */
static void batches_send(struct heap *h) {
    for (struct batch *b = h->batches; b < h->batches + BATCHES; b++)
        batch_send(h, b);
}

/* Finds the batch of a page. It may be in two entries, so that two pages in use at a time seldom
 * evict each other's batches. If it is in neither, returns one of them: unused, or another page's
 * batch. */
static inline struct batch *batch_of(struct heap *h, const struct page *page) {
    uint32_t at = (uint32_t)((uintptr_t)page >> 6) * 0x9e3779b1u >> 26;
    return h->batches[at].page == page ? &h->batches[at] : &h->batches[at ^ 1];
}

/* Adds a block when that begins a batch, or fills one, which is then sent. A batch is full, too,
 * once it holds every block of the page that had not been returned when it began, because these may
 * make the page empty. */
static __attribute__((noinline)) void batch_add_slowly(struct heap *h, struct page *page, void *p) {
    struct batch *b = batch_of(h, page);
    if (b->page != page) {
        struct batch *other = h->batches + ((b - h->batches) ^ 1);
        if (b->page && (!other->page || other->left < b->left))
            b = other;
        batch_send(h, b);
        uint64_t word = atomic_load_explicit(&page->remote, memory_order_relaxed);
        uint32_t left = page->capacity - remote_reserved(word);
        b->last = (uint16_t)(left < BATCH ? BATCH - left : 0);
        b->left = BATCH;
        b->bytes = 0;
        b->page = page;
    }
    b->place[--b->left] = page_place(page, p);
    b->bytes += page->size;
    h->batched += page->size;
    if (b->left <= b->last)
        batch_send(h, b);
    if (h->batched > BATCHED)
        batch_send_largest(h);
}

/* Frees a block of another thread's page: adds it to the batch of that page. */
static __attribute__((noinline)) void batch_add(struct heap *h, struct page *page, void *p) {
    struct batch *b = batch_of(h, page);
    heap_busy(h, true);
    block_mark(p);
    if (likely(b->page == page && b->left > b->last + 1 && h->batched + page->size <= BATCHED)) {
        b->place[--b->left] = page_place(page, p);
        b->bytes += page->size;
        h->batched += page->size;
    } else {
        batch_add_slowly(h, page, p);
    }
    heap_busy(h, false);
}

/* ── is it free already? ───────────────────────────────────────────────────── */

static bool places_list(const uint16_t *place, size_t count, uint16_t wanted) {
    for (size_t i = 0; i < count; i++)
        if (((const volatile uint16_t *)place)[i] == wanted)
            return true;
    return false;
}

/* Does the page's record list that block as free? Other threads may be changing it, so the answer
 * may be stale. */
static bool page_lists(struct page *page, uint16_t place) {
    size_t count = __atomic_load_n(&page->count, __ATOMIC_RELAXED);
    uint32_t filled = remote_stable(atomic_load_explicit(&page->remote, memory_order_acquire));
    if (count > page->capacity || filled > page->capacity)
        return false;
    return (count && page_place(page, page->top) == place) ||
           places_list(page->stack + 1, count ? count - 1 : 0, place) ||
           places_list(page_far_end(page) - filled, filled, place);
}

/* Does a batch of that heap hold the block? Its thread may be changing it. */
static bool batches_hold(struct heap *h, struct page *page, uint16_t place) {
    struct batch *b = batch_of(h, page);
    uint32_t left = b->left;
    return b->page == page && left <= BATCH && places_list(b->place + left, BATCH - left, place);
}
