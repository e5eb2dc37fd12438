/* sweep.h: purging free memory inside pages that hold live blocks.
 *
 * One live block keeps a page of 64 KiB in use, and after a spike most blocks of most pages are
 * free. So each owner sweeps its pages. A piece is a part of a page as long as the system's pages,
 * and a sweep purges the pieces that hold only free blocks. These blocks lose their marks, so the
 * record remembers the pieces (`purged`): when malloc finds zeros instead of a mark, it marks the
 * free blocks of that piece again (page_revive).
 *
 *      page    │ live │ free │ free │ free │ free │ live │ free │ …
 *      pieces  │               │ purged        │               │
 *
 * A sweep purges in a page only if the number of its free blocks is the same as at the last sweep,
 * an interval before. While a heap is torn down (page_became_sparse), each page that becomes
 * sparse, or sparser, is swept at once, and some others with it, so that no further call is needed.
 * The price: about 1 µs a page examined, one system call for each stretch of pieces, and the page
 * faults when these are used again. So to free 95 % of 1 GiB at random takes half as long again.
 * What it weakens: a block in such a piece carries no mark, so its second free is found by a later
 * malloc from the piece, not by free; and not even then if the block was handed out in between and
 * begins with zeros.
 *
 * Locking: the caller is the owner.
 */
#pragma once

#include "owner.h"

enum { SWEEP = 32, SWEPT = 32 }; /* pages to examine, and pieces to purge, at a time */

/* Some blocks of a page: a bit for each. */
struct block_set {
    uint64_t bits[GRANULE / ALIGNMENT / 64];
};

static inline bool blocks_have(const struct block_set *set, size_t i) {
    return set->bits[i / 64] >> i % 64 & 1;
}

/* Adds the blocks at these places. Returns the number of wrong places: those of no block, or of one
 * that is in the set already. */
static uint32_t blocks_add(struct block_set *set, const struct page *page, const uint16_t *place,
                           size_t count) {
    uint32_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        size_t offset = (size_t)place[i] << page->shift, block = offset / page->size;
        bool good = offset % page->size == 0 && block < page->carved && !blocks_have(set, block);
        wrong += !good;
        if (good)
            set->bits[block / 64] |= 1ull << block % 64;
    }
    return wrong;
}

/* Is the piece without any live block? A block that another thread freed counts as live until the
 * owner drains it. Memory that was never carved counts as free, because it may be resident, too: a
 * huge page is resident as a whole. */
static bool piece_is_free(const struct page *page, const struct block_set *frees, size_t piece) {
    size_t first = piece * os_page_size() / page->size;
    size_t end = ((piece + 1) * os_page_size() + page->size - 1) / page->size;
    for (size_t i = first; i < end && i < page->carved; i++)
        if (!blocks_have(frees, i))
            return false;
    return true;
}

/* Purges the free pieces of a page, none if its stack is damaged. Returns how many it purged. */
static uint32_t page_sweep(struct page *page) {
    struct block_set frees = {0};
    size_t length = os_page_size(), pieces = page_length(page) / length;
    uint32_t went = 0;
    page->swept = (uint16_t)page->count;
    if (page->count * (size_t)page->size < length ||
        blocks_add(&frees, page, page_places(page), page->count))
        return 0;
    for (size_t first = 0, end; first < pieces; first = end + 1) {
        uint64_t bits = 0;
        for (end = first; end < pieces && piece_is_free(page, &frees, end); end++)
            bits |= 1ull << end;
        page->purged |= bits; /* even if it fails: the kernel purges up to locked memory */
        if (bits && os_purge(page->start + first * length, (end - first) * length))
            went += (uint32_t)(end - first);
    }
    return went;
}

/* The uppermost free block has no mark. If the piece in which it begins was purged, marks the free
 * blocks that begin there and returns true. False if the piece was not purged, or if one of these
 * blocks was written to. */
static bool page_revive(struct heap *h, struct page *page) {
    size_t size = page->size, length = os_page_size();
    size_t piece = (size_t)((char *)page->top - page->start) / length;
    struct block_set frees = {0};
    if (!page_is_purged(page, piece))
        return false;
    must(!blocks_add(&frees, page, page_places(page), page->count), "malloc",
         "a block of the page at %p was freed twice", (void *)page->start);
    size_t end = ((piece + 1) * length + size - 1) / size;
    for (size_t i = (piece * length + size - 1) / size; i < end && i < page->carved; i++) {
        struct block *b = (struct block *)(page->start + i * size);
        if (!blocks_have(&frees, i))
            continue;
        if (b->mark && b->mark != MARK)
            return false;
        block_mark(b);
    }
    page->purged &= ~(1ull << piece);
    if (h->sparse_more < h->pages)
        h->sparse_more += 1 + h->pages / 8;
    return true;
}

/* Sweeps all current and partial pages of a heap. Other pages have too few free blocks. Returns the
 * number of pieces purged. */
static size_t heap_sweep_all(struct heap *h) {
    size_t went = 0;
    for (unsigned class = 0; class < CLASSES; class++) {
        if (h->current[class]->class == class && h->current[class]->count)
            went += page_sweep(h->current[class]);
        for (struct page *page = h->partial[class]; page; page = page->next)
            went += page_sweep(page);
    }
    return went;
}

/* Is the page to be swept? Not if its number of free blocks is that of its last sweep. Otherwise
 * yes if the number has not changed for an interval; or, while the heap is torn down, if the page
 * is sparse. */
static bool page_is_due(const struct page *page, bool torn) {
    return page->swept != page->count &&
           (torn ? page->count >= page_sparse_from(page) : page->seen == page->count);
}

/* Continues a sweep by SWEEP pages, or until it has purged SWEPT pieces. `begin`: begins a new one
 * if the last has ended. `torn`: the heap is being torn down; then current pages are swept, too. */
static void heap_sweep(struct heap *h, bool begin, bool torn) {
    if (begin && h->sweeping == CLASSES)
        h->sweep = h->partial[h->sweeping = 0];
    for (unsigned n = 0, went = 0; n < SWEEP && went < SWEPT && h->sweeping < CLASSES; n++) {
        struct page *page = h->sweep;
        if (page) {
            h->sweep = page->next;
        } else {
            page = h->current[h->sweeping];
            if (++h->sweeping < CLASSES)
                h->sweep = h->partial[h->sweeping];
            if (!torn || page == NONE || page->class + 1 != h->sweeping)
                continue;
        }
        if (page_is_due(page, torn))
            went += page_sweep(page);
        page->seen = (uint16_t)page->count;
    }
}
