/* thread.h: heaps and the threads that own them: how a heap begins, is adopted after its thread has
 * ended, and is flushed; and what is purged when.
 *
 * Locking: takes the region's lock; called without any.
 */
#pragma once

#include "large.h"

/* ── purging ───────────────────────────────────────────────────────────────── */

/* Purges a slab without records, except its first page, which holds the link of its list. */
static void slab_purge(struct region *r, struct slab *c) {
    bool done = os_purge((char *)c + os_page_size(), GRANULE - os_page_size());
    if (!lock_acquire(&r->lock))
        return;
    struct slab **list = done ? &slabs.clean : &slabs.empty;
    c->next = *list;
    *list = c;
    region_unlock(r);
}

/* Purges the oldest dirty memory, at most 1 MiB, and one slab without records. The lock is not held
 * during the system calls, so the memory is in no list meanwhile. `torn`: for a teardown. Returns
 * how many granules of dirty memory it purged: 0 if there are none, or if the kernel refuses
 * (locked memory). */
static uint32_t region_purge(struct region *r, bool torn) {
    if (!lock_acquire(&r->lock))
        return 0;
    struct page *part = purge_begin(r);
    struct slab *slab = slabs.empty;
    if (slab)
        slabs.empty = slab->next;
    region_unlock(r);
    if (slab)
        slab_purge(r, slab);
    if (!part)
        return 0;
    uint32_t granules = part->granules;
    bool done = os_purge(part->start, page_length(part));
    if (!lock_acquire(&r->lock))
        return 0;
    if (done && torn)
        r->torn += granules;
    purge_end(r, part, done);
    region_unlock(r);
    return done ? granules : 0;
}

/* The caller has freed `granules`. If many are dirty now, the program may be tearing down its data
 * and never call us again, so this purges as many at once. */
static void region_teardown(uint32_t granules) {
    struct region *r = heap.region;
    size_t retain = r->retain > RETAIN ? r->retain : RETAIN;
    while (__atomic_load_n(&r->dirty, __ATOMIC_RELAXED) > retain + PORTION &&
           !__atomic_load_n(&r->locked, __ATOMIC_RELAXED)) {
        uint32_t purged = region_purge(r, true);
        if (!purged || purged >= granules)
            return;
        granules -= purged;
    }
}

/* ── heaps and threads ─────────────────────────────────────────────────────── */

/* Makes a heap, owned by this thread. NULL with errno ENOMEM. The caller holds the lock. */
static struct heap *heap_make(void) {
    struct heap *h = &first_heap;
    unsigned pool = heap.newest ? (heap.newest->pool + 1u) % POOLS : 0;
    if (heap.newest && !(h = record_cut(&slabs.pools[pool], sizeof *h)))
        return NULL;
    memset(h, 0, sizeof *h);
    for (unsigned i = 0; i <= DIRECT / 16; i++)
        h->direct[i] = NONE;
    for (unsigned i = 0; i < CLASSES; i++)
        h->current[i] = NONE;
    h->pool = (uint8_t)pool;
    h->tag = heap.newest ? heap.newest->tag + TAG : TAG;
    h->sweeping = CLASSES;
    h->next = heap.heaps;
    h->older = heap.newest;
    life_init(&h->life);
    life_acquire(h);
    heap.heaps = h;
    __atomic_store_n(&heap.newest, h, __ATOMIC_RELEASE); /* read without the lock, too */
    return h;
}

/* Makes `page` the current one of a class, and of the sizes that malloc looks up directly. */
static void direct_set(struct heap *h, unsigned class, struct page *page) {
    size_t size = class_size(class);
    h->current[class] = page;
    if (size <= DIRECT)
        for (size_t i = class ? class_size(class - 1) / 16 + 1 : 0; i <= size / 16; i++)
            h->direct[i] = page;
}

/* Makes the page current for no class: neither for its own nor for those that borrow it. */
static void page_retire(struct heap *h, struct page *page) {
    for (unsigned class = 0; class <= page->class; class++)
        if (h->current[class] == page)
            direct_set(h, class, NONE);
}

/* Frees the run of a page without a live block. */
static void run_return(struct page *run) {
    uint32_t granules = run->granules;
    struct region *r = region_lock();
    run_free(r, run, true);
    region_unlock(r);
    region_teardown(granules);
}

/* Removes a page without a live block from its heap, and frees its run. It is in no list. */
static void page_drop(struct heap *h, struct page *page) {
    h->pages--;
    if (h->fresh[page->class] == page)
        h->fresh[page->class] = NULL;
    run_return(page);
}

/* Frees the record of a page whose run another thread has given back (page_release_empty). */
static void record_return(struct page *page) {
    struct region *r = region_lock();
    if (page->era == r->era)
        record_free(page);
    region_unlock(r);
}

/* Other threads have returned all blocks of a full page. The last of them calls this, which makes a
 * new record for the run and frees the run. The page's record is still in the owner's list
 * `pending`, so the owner frees it when it next drains. The owner may have drained the page in
 * between, and the record may describe another page; the map and the word `remote`, read under the
 * lock, show that. Once the word has REMOTE_TAKEN, no other thread touches the blocks. */
static void page_release_empty(struct page *page, char *start, uint64_t word) {
    struct region *r = region_lock();
    struct page *run = record_make(&slabs.pools[0], CLASSES);
    bool taken =
        run && page_of(start) == page && page->era == r->era &&
        atomic_compare_exchange_strong_explicit(&page->remote, &word, REMOTE_TAKEN | REMOTE_PENDING,
                                                memory_order_acq_rel, memory_order_relaxed);
    if (taken) {
        run_split(run, page, start, page->granules);
        run->size = page->size;
        run->carved = page->carved;
        run->purged = page->purged;
        map_set_all(run);
        page->kind = PAGE_GONE;
        page->granules = 0;
        page->limit = 0;
    } else if (run) {
        record_free(run);
    }
    region_unlock(r);
    if (!taken)
        return;
    page_verify_empty(run);
    run_return(run);
}

/* Retires the current pages. Those without a live block return to the region now, the others when
 * their last block is freed. */
static void heap_flush_pages(struct heap *h) {
    for (unsigned i = 0; i < CLASSES; i++) {
        struct page *page = h->current[i];
        if (page == NONE || page->class != i)
            continue;
        page_retire(h, page);
        page_await_frees(page);
        page_count(h, page, (uint32_t)page->count);
    }
}

/* Makes this thread the owner of an abandoned heap. Also true if this thread owns the heap already,
 * but lost `self`. */
static bool heap_claim(struct heap *h) {
    int error = h == self ? EBUSY : life_acquire(h);
    return !error || (error == EDEADLK && self == &heap_none);
}

/* Finds an abandoned heap and makes this thread its owner. Tries LOOKS heaps at the front of the
 * list, where the heaps of brief threads are, and LOOKS more from where the last search ended: no
 * more, however many heaps there are. NULL if none of these is abandoned. The caller holds the
 * lock. */
static struct heap *heap_adopt(void) {
    struct heap **at = &heap.heaps;
    for (unsigned i = 0; i < LOOKS && *at; i++, at = &(*at)->next) {
        struct heap *h = *at;
        if (!heap_claim(h))
            continue;
        *at = h->next;
        h->next = heap.heaps;
        heap.heaps = h;
        return h;
    }
    for (unsigned i = 0; i < LOOKS && *at; i++) {
        struct heap *h = heap.looked ? heap.looked : *at;
        heap.looked = h->next;
        if (heap_claim(h))
            return h;
    }
    return NULL;
}

/* Sends all batches of a heap, and drains each of its pending pages once; a page that cannot be
 * drained now is pending again. Returns 0, for heaps_do. */
static size_t heap_drain_all(struct heap *h) {
    batches_send(h);
    uint32_t waiting = atomic_load_explicit(&h->waiting, memory_order_relaxed);
    for (uint32_t drained = 0; drained < waiting; drained += DRAINS)
        heap_drain(h);
    return 0;
}

/* Gives a thread a heap: an abandoned one with its pages, or a new one. NULL with errno ENOMEM. */
static struct heap *thread_begin(void) {
    int saved = errno;
    struct region *r = region_lock();
    struct heap *h = NULL;
    if (near_open(r) && !(h = heap_adopt()))
        h = heap_make();
    region_unlock(r);
    if (!h)
        return os_refuse();
    self_set(h);
    heap_busy(h, true);
    batches_send(h); /* blocks in the last owner's batches keep other heaps' pages in use */
    heap_drain(h);
    heap_busy(h, false);
    errno = saved;
    return h;
}

/* Drains a heap, and gives its pages without a live block and its kept runs back to the region. */
static size_t heap_flush(struct heap *h) {
    heap_drain_all(h);
    heap_flush_pages(h);
    kept_flush(h);
    return 0;
}

/* The same, and purges free memory inside the heap's other pages. Returns the bytes purged. */
static size_t heap_flush_and_sweep(struct heap *h) {
    heap_flush(h);
    return heap_sweep_all(h) * os_page_size();
}

/* Nobody drains an abandoned heap. So before a thread asks the kernel for memory, and once in each
 * interval, it adopts one, drains and sweeps a few of its pages, flushes and releases it. */
static void heap_reclaim_one(void) {
    struct region *r = region_lock();
    struct heap *h = heap.heaps->next ? heap_adopt() : NULL;
    region_unlock(r);
    if (!h)
        return;
    heap_busy(h, true);
    batches_send(h);
    heap_drain(h);
    heap_flush_pages(h);
    heap_sweep(h, true, false);
    kept_flush(h);
    heap_busy(h, false);
    life_release(h);
}

static size_t heap_do(struct heap *h, size_t (*act)(struct heap *)) {
    bool busy = h->busy;
    heap_busy(h, true);
    size_t result = act(h);
    heap_busy(h, busy);
    return result;
}

/* Calls `act` for this thread's heap and all abandoned ones, as their owner, and returns the sum of
 * the results. */
static size_t heaps_do(size_t (*act)(struct heap *)) {
    size_t sum = self != &heap_none ? heap_do(self, act) : 0;
    struct region *r = region_lock();
    struct heap *h = heap.newest;
    region_unlock(r);
    for (; h; h = h->older)
        if (h != self && life_acquire(h) == 0) {
            sum += heap_do(h, act);
            life_release(h);
        }
    return sum;
}

/* Purges all dirty memory, so that dirty and clean runs merge. Returns the number of granules. */
static size_t region_purge_all(void) {
    size_t sum = 0, granules;
    while ((granules = region_purge(heap.region, false)))
        sum += granules;
    return sum;
}

/* If the idle mapping was freed `age` ms ago or earlier, unmaps it, and keeps no further one until
 * lengths repeat again. Retries some mappings that the kernel refused to unmap. Returns the length
 * of the idle mapping that it unmapped. */
static size_t idle_unmap(uint64_t age) {
    struct region *r = region_lock();
    struct huge *idle = now_ms() - heap.huges.since < age ? NULL : heap.huges.idle;
    size_t length = idle ? idle->length : 0;
    bool retry = heap.huges.refused; /* usually not: then no further lock is taken */
    if (idle)
        heap.huges.idle = NULL;
    heap.huges.repeats = heap.huges.repeats && !idle;
    region_unlock(r);
    huge_drop(idle);
    for (unsigned i = 0; retry && i < RETRIES; i++)
        retry = huge_retry();
    return length;
}

/* The last resort before malloc fails: flushes this heap and all abandoned ones, and gives back all
 * memory that is not in use. False if there was none. */
static bool heaps_reclaim(void) {
    size_t used = heap.region->used;
    heaps_do(heap_flush);
    return idle_unmap(0) + region_purge_all() || heap.region->used < used;
}

/* ── ticks ─────────────────────────────────────────────────────────────────── */

/* Unmaps the idle mapping if it is an interval old. If an interval has passed, begins the next one
 * and reclaims an abandoned heap. */
static void region_interval(void) {
    struct region *r = region_lock();
    bool aged = region_age(r, now_ms()); /* read under the lock, so that times do not go back */
    region_unlock(r);
    idle_unmap(options.decay_ms / 2);
    if (aged)
        heap_reclaim_one();
}

/* Every TICK frees or SLOW slow calls, and at each free of a large run that the thread does not
 * keep: sends the batches if no block was added since the last tick, purges a portion of the memory
 * that was idle for an interval, and continues a sweep. */
static void heap_tick(struct heap *h) {
    bool busy = h->busy;
    heap_busy(h, true);
    if (h->batched && h->batched == h->batched_was)
        batches_send(h);
    h->batched_was = h->batched;
    struct region *r = heap.region;
    if (region_is_due(r)) {
        region_interval();
        if (__atomic_load_n(&r->surplus, __ATOMIC_RELAXED))
            region_purge(r, false);
    }
    uint64_t since = __atomic_load_n(&r->since, __ATOMIC_RELAXED);
    if (h->since != since)
        h->sparse_more -= h->sparse_more / 4;
    if (h->since != since || h->sweeping < CLASSES)
        heap_sweep(h, h->since != since, false);
    h->since = since;
    heap_busy(h, busy);
}
