/* held.h: what holds the blocks that are live at an exit?
 *
 * As `heap leaks` of the debugger does, we look at all that is writable and no heap, word by word:
 * what looks like the address of a live block, or of a byte in it, holds that block, and through it
 * what that block points to, and so on. A block that nothing leads to is lost. A block that several
 * roots lead to counts for the first of them, in the order of addresses: globals of the program, of
 * libraries, then stacks and the variables of threads.
 *
 * No roots are: the heap (freed blocks still hold old addresses), the variables of a malloc that is
 * a library of its own, and our own memory. All live blocks have to be known: by our own table where
 * every allocation is looked at, else by libmalloc_walk.
 *
 * Price: about 10 ms for a MiB of live blocks and globals. Rule: under profile.lock, at the exit.
 */
#pragma once

#include "../../unwind/maps.h"
#include "sums.h"
#include "blocks.h"

#include <sys/uio.h>

enum { PIECE = 32 * 1024 };

/* A live block. `root`: the address of the word that leads to it. */
struct live {
    uintptr_t start, root;
    size_t size;
};

static struct {
    struct live *blocks; /* by address */
    uint32_t *todo;      /* held, and not yet looked into */
    size_t count, room, pending;
    uintptr_t low, high; /* of all blocks */
    struct {
        uintptr_t start, end;
    } regions[1024]; /* of a malloc that tells, its records included */
    size_t regions_count;
} held;

static void live_add(uintptr_t start, size_t size) {
    if (held.count < held.room)
        held.blocks[held.count] = (struct live){.start = start, .size = size};
    held.count++;
}

static int live_visit(const struct libmalloc_chunk *chunk, void *nothing) {
    (void)nothing;
    size_t i = held.regions_count, most = sizeof held.regions / sizeof *held.regions;
    uintptr_t start = (uintptr_t)chunk->start;
    if (chunk->kind == LIBMALLOC_LIVE && profile.every)
        live_add((uintptr_t)chunk->user, chunk->usable);
    if (chunk->kind == LIBMALLOC_REGION && i < most) {
        held.regions[i].start = start;
        held.regions[i].end = start + chunk->extent;
        held.regions_count++;
    }
    return 0;
}

static void live_list(void) {
    held.count = held.regions_count = 0;
    for (size_t i = 0; !profile.every && i < blocks.size; i++)
        if (blocks.slots[i].address)
            live_add(blocks.slots[i].address, blocks.slots[i].size);
    if (next.walk && next.walk(live_visit, NULL) != 0 && profile.every)
        held.count = 0;
}

/* Heapsort: libc's qsort may allocate. */
static void live_sink(size_t at, size_t count) {
    struct live moved = held.blocks[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && held.blocks[child].start < held.blocks[child + 1].start)
            child++;
        if (held.blocks[child].start <= moved.start)
            break;
        held.blocks[at] = held.blocks[child];
    }
    held.blocks[at] = moved;
}

static void live_sort(void) {
    for (size_t i = held.count / 2; i-- > 0;)
        live_sink(i, held.count);
    for (size_t i = held.count; i-- > 1;) {
        struct live largest = held.blocks[0];
        held.blocks[0] = held.blocks[i];
        held.blocks[i] = largest;
        live_sink(0, i);
    }
}

/* False when there is nothing to look for, or no memory for it. */
static bool live_find(void) {
    held.room = 0;
    live_list();
    size_t count = held.count + 64, each = sizeof *held.blocks + sizeof *held.todo;
    char *memory = held.count ? memory_apart(count * each) : NULL;
    if (!memory)
        return false;
    held.blocks = (void *)memory;
    held.todo = (void *)(memory + count * sizeof *held.blocks);
    held.room = count;
    live_list();
    if (held.count > held.room || !held.count)
        return false;
    live_sort();
    held.low = held.blocks[0].start;
    held.high = held.blocks[held.count - 1].start + held.blocks[held.count - 1].size + 1;
    return true;
}

/* The last block that begins at `p` or before it; NULL if none does. */
static struct live *live_below(uintptr_t p) {
    size_t low = 0, high = held.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (held.blocks[middle].start <= p)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &held.blocks[low - 1] : NULL;
}

/* The address of the chunk behind a block of glibc's, which overlaps the block's last word: its lists
 * of free chunks hold such addresses. */
static bool is_glibc_chunk(const struct live *b, uintptr_t p) {
    return !next.size && p != b->start && p == b->start + ((b->size + 8 + 15) & ~15ul) - 16;
}

static void live_hold(uintptr_t p, uintptr_t root) {
    if (p < held.low || p >= held.high)
        return;
    struct live *b = live_below(p);
    if (!b || b->root || p >= b->start + (b->size ? b->size : 1) || is_glibc_chunk(b, p))
        return;
    b->root = root;
    held.todo[held.pending++] = (uint32_t)(b - held.blocks);
}

/* Memory that another thread unmaps at this moment is passed over. `root` 0: each word is one. */
static void words_look(uintptr_t at, uintptr_t end, uintptr_t root) {
    static uintptr_t words[PIECE / sizeof(uintptr_t)];
    for (at = (at + 7) & ~7ul; at < end; at += PIECE) {
        size_t size = end - at < PIECE ? end - at : PIECE;
        struct iovec here_ = {words, size}, there = {(void *)at, size};
        long got = syscall(SYS_process_vm_readv, syscall(SYS_getpid), &here_, 1l, &there, 1l, 0l);
        for (long i = 0; i < got / (long)sizeof *words; i++)
            live_hold(words[i], root ? root : at + (uintptr_t)i * sizeof *words);
    }
}

static void held_follow(void) {
    while (held.pending > 0) {
        struct live *b = &held.blocks[held.todo[--held.pending]];
        words_look(b->start, b->start + b->size, b->root);
    }
}

/* The end of our variables. */
extern const char own_last[] __asm__("_end") __attribute__((visibility("hidden")));

static bool is_heap(const struct mapping *m) {
    for (size_t i = 0; i < held.regions_count; i++)
        if (held.regions[i].start < m->end && m->start < held.regions[i].end)
            return true;
    struct live *last = m->path[0] == '/' ? NULL : live_below(m->end - 1);
    return last && last->start + last->size > m->start;
}

/* Of our own stack, what is in use; of the malloc's library and of ours, nothing. */
static void held_look(const struct mapping *m, uintptr_t sp) {
    bool ours = m->start - next.start < next.size ||
                (m->start < (uintptr_t)own_last && (uintptr_t)own_start < m->end);
    if (!m->readable || !m->writable || m->shared || ours)
        return;
    uintptr_t thread = (uintptr_t)pthread_self();
    if (!is_heap(m))
        words_look(sp > m->start && sp < m->end ? sp : m->start, m->end, 0);
    else if (thread >= m->start && thread < m->end) /* blocks beside the main thread's variables */
        words_look(thread - m->start > PIECE / 4 ? thread - PIECE / 4 : m->start, thread + 2304, 0);
    held_follow();
}

/* Sampled blocks by site and root. */
static void held_write(void) {
    enum { ROOM = SEGMENT_ROOM / sizeof(struct profile_held) };
    struct trace_segment *draft = NULL;
    uint32_t order = 0;
    size_t used = 0;
    for (size_t i = 0; i < blocks.size; i++) {
        struct block *b = &blocks.slots[i];
        struct live *found = b->address ? live_below(b->address) : NULL;
        if (!found || found->start != b->address || b->site == UINT32_MAX)
            continue;
        if (!draft && !(draft = segment_draft(PROFILE_HELD, 0, order++)))
            return;
        struct profile_held *to = (void *)segment_content(draft);
        to[used++] = (struct profile_held){
            b->site, found->root, {(double)b->size * b->weight, b->weight}};
        if (used < ROOM)
            continue;
        segment_finish(draft, used * sizeof *to);
        draft = NULL;
        used = 0;
    }
    if (draft)
        segment_finish(draft, used * sizeof(struct profile_held));
}

static void held_search(void) {
    if ((profile.every && !next.walk) || !live_find())
        return;
    struct maps maps = maps_open();
    struct mapping mapping;
    while (maps_next(&maps, &mapping))
        held_look(&mapping, (uintptr_t)__builtin_frame_address(0));
    maps_close(&maps);
    held_write();
}
