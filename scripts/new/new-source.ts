// The file that `libmalloc new` writes: a malloc that hands out memory and takes none back.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../lib/paths.ts';

/** The headers of the contract as our own variants include them: the first, those between, the last. */
function headers(): string[] {
  const text = readFileSync(join(root, 'native', 'list.c'), 'utf8');
  return [...text.matchAll(/^#include "(.*)"$/gm)].map(([line]) => line);
}

/** The source of a malloc of that name. `cc` is the line that builds it by hand. */
export function newSource(name: string, rung: number, cc: string): string {
  const [first, ...others] = headers();
  return `/* ${name}.c: a malloc of your own, and how it begins.
 *
 * The idea: memory comes from mmap in pieces. A pointer moves through the piece, and what it
 * passes is handed out. In front of each block stands its size, for realloc.
 *
 *      piece                          heap.next                heap.end
 *      ├──────┬─────────┬──────┬──────┼────────────────────────┤
 *      │ size │ block   │ size │block │ not handed out yet     │
 *      └──────┴─────────┴──────┴──────┴────────────────────────┘
 *
 * The price: O(1), and nothing comes back. What it lacks: free, then merging, a lock and fork.
 *
 *     ${cc}
 */
${first}

LIBMALLOC_VARIANT(${rung}, ${name});

${others.slice(0, -1).join('\n')}

enum { PIECE = 1 << 20 };

struct block {
    size_t size;        /* bytes of data */
    struct block *next; /* for your list of free blocks; until then it keeps the data aligned */
    char data[];
};

static struct {
    char *next, *end; /* of the piece in use */
} heap;

/* A new piece for a block of this size; what is left of the last one is lost. */
static bool piece_map(size_t size) {
    size_t length = round_up(size, PIECE);
    heap.next = limit_map(length, os_page_size(), 0);
    heap.end = heap.next ? heap.next + length : NULL;
    return heap.next;
}

static struct block *block_of(void *p) { return (struct block *)p - 1; }

/* The next block of the piece, or the first of a new one. */
static void *piece_take(size_t alignment, size_t size) {
    char *p = align_up(heap.next + sizeof(struct block), alignment);
    if (!heap.next || p > heap.end || size > (size_t)(heap.end - p)) {
        if (!piece_map(size + alignment + sizeof(struct block)))
            return NULL;
        p = align_up(heap.next + sizeof(struct block), alignment);
    }
    block_of(p)->size = size;
    heap.next = p + size;
    return p;
}

/* ── the contract (heap.h) ─────────────────────────────────────────────────── */

static void *heap_allocate_aligned(size_t alignment, size_t size) {
    return piece_take(alignment, round_up(size, ALIGNMENT));
}

static void *heap_allocate(size_t size) {
    return size <= PTRDIFF_MAX - PIECE ? heap_allocate_aligned(ALIGNMENT, size) : os_refuse();
}

static void *heap_allocate_zeroed(size_t size) {
    void *p = heap_allocate(size);
    return p ? memset(p, 0, size) : NULL;
}

static void heap_free(void *p, const char *call) { (void)p, (void)call; }

static size_t heap_usable(void *p, const char *call) { return (void)call, block_of(p)->size; }

static void *heap_resize(void *p, size_t size, const char *call) {
    size_t old = block_of(p)->size;
    void *new = size <= old ? p : heap_allocate(size);
    if (new && new != p) {
        memcpy(new, p, old);
        heap_free(p, call);
    }
    return new;
}

/* For fork (lock.h): no lock yet, and so nothing that a child could find half done. */
static struct lock *heap_lock(unsigned i) { return (void)i, NULL; }
static bool heap_goes_on(void) { return true; }
static bool heap_freeze(void) { return true; }

/* For those who look at the heap. There is nothing to see yet, and nothing to give back. */
static void heap_snapshot(struct snapshot *out) { (void)out; }
static void heap_verify(struct findings *out) { expect(out, heap.next <= heap.end, "no piece"); }
static size_t heap_overhead(void) { return 0; }
static bool heap_count(struct libmalloc_stats *s, bool patient) { return heap_tally(s, patient); }
static size_t heap_trim(size_t pad) { return (void)pad, 0; }

${others.at(-1)}
`;
}
