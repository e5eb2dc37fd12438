/* guard.h: a layer between the contract (heap.h) and abi.h, in debug builds. It knows
 * what the program asked for, to the byte, and finds accesses beyond that.
 *
 *      the program ── malloc, free, … ──> abi.h ──> guard.h ──> dumb · list · paged · sharded
 *
 *      the variant's block
 *      ├──── front ──┬──────── size ──────┬─ rear ─┤
 *      │      canary │ the program's part │ canary │      records.h remembers where
 *      └─────────────┴────────────────────┴────────┘      and by whom, elsewhere
 *
 *   1. malloc fills a block with FRESH_FILL, so that a read before the first write yields the
 *      same garbage every time. (calloc's memory stays zero.)
 *   2. free checks the canaries, fills the block with FREED_FILL, which makes an address that
 *      cannot be followed, and puts it into quarantine: a queue from which the oldest go
 *      back to the variant when it holds too many bytes or blocks.
 *   3. When a block leaves the quarantine, and at exit, we check whether it was written to.
 *   4. realloc moves the block, so that the old address is wrong at once. A large block is
 *      left to the variant, which may resize it without copying.
 *
 * After a finding we print a sentence and the calls that allocated the block, freed it and
 * found out (stack.h), and abort the program; `libmalloc run` adds source lines (finding.h),
 * without it lines.h does.
 * LIBMALLOC_DEBUG=KEY=VALUE,…
 *
 *      quarantine=BYTES   how many bytes wait there (16777216; 0: none)
 *      fill=0             neither fresh nor freed blocks are filled
 *      stack=N            how many calls are remembered (0 to 8)
 *      leaks=1            report at exit the blocks to which nothing points (leaks.h)
 *      lines=0            no program is started that finds source lines (lines.h)
 *      match=0            new may be freed, malloc may be deleted (cplusplus.h)
 *
 * The price: 32 bytes or more and a record of 176 for each block, a microsecond for each
 * call. If memory for that is short, a block gets no canaries, and then no record, so that
 * the program is never refused what the variant alone would give it.
 *
 * What it cannot see: reads, and writes that jump over a canary. A block aligned to more
 * than a page has no canary in front, because that would take as much memory as its alignment.
 *
 * Locking: none. Records are claimed (records.h); the queue is a ring of slots, and a thread
 * that takes a number out of a slot owns that block. So nothing needs repair after a fork.
 * While the guard calls the variant, it has claimed no record that the map still leads to.
 */
#pragma once

#include <malloc.h>

#include "../base/die.h"
#include "../base/os.h"
#include "../base/snapshot.h"
#include "canary.h"
#include "leaks.h"
#include "quarantine.h"
#include "records.h"
#include "stack.h"

enum { MOVED = 128 * 1024 }; /* blocks of this size on may be resized by the variant */

/* ── allocating ────────────────────────────────────────────────────────────── */

/* How much of the variant's block lies before the program's part. */
static size_t guard_front(size_t alignment) {
    return alignment <= ALIGNMENT ? ALIGNMENT : alignment <= os_page_size() ? alignment : 0;
}

static void *variant_allocate(size_t alignment, size_t size, bool zeroed) {
    if (size > PTRDIFF_MAX - alignment)
        return os_refuse();
    if (alignment > ALIGNMENT)
        return heap_allocate_aligned(alignment, size);
    return zeroed ? heap_allocate_zeroed(size) : heap_allocate(size);
}

/* Makes what is left of the variant's block, up to CANARY_MOST bytes, the rear canary. */
static void record_room(struct record *r, size_t room) {
    size_t rear = room - r->front - r->size;
    r->room = room;
    r->rear = (uint8_t)(rear < CANARY_MOST ? rear : CANARY_MOST);
}

/* Describes the block in a record and prepares its bytes. False if there is no memory for it. */
static bool block_record(char *base, size_t front, size_t size, size_t room, size_t alignment,
                         bool zeroed) {
    _Atomic(uint32_t) *slot = slot_of(base + front, true);
    uint32_t number = slot ? record_take() : 0;
    if (!number)
        return false;
    struct record *r = record_at(number);
    r->user = base + front;
    r->size = size < room - front ? size : room - front; /* dumb may hand out less (OVERRUN) */
    r->front = (uint32_t)front;
    record_room(r, room);
    r->alignment = (uint8_t)__builtin_ctzl(alignment);
    r->filled = false;
    r->made = MADE_BY_MALLOC;
    r->freed[0] = NULL;
    stack_walk(r->allocated);
    canaries_write(r);
    if (guard.fill && !zeroed)
        memset(r->user, FRESH_FILL, filled_size(r->size));
    record_release(r, LIVE);
    atomic_store_explicit(slot, number, memory_order_release);
    return true;
}

/* Hands out a block without a record; it begins where the variant's does. */
static COLD void *block_bare(char *base) {
    _Atomic(uint32_t) *slot = slot_of(base, false);
    if (slot)
        atomic_store(slot, 0); /* GONE, if a block that was given back began here */
    atomic_fetch_add(&guard.unknown, 1);
    return base;
}

/* Allocates a block with canaries; without, if memory is short although the quarantine was
 * emptied; without a record, if there is no memory for that. */
static void *guard_place(size_t alignment, size_t size, bool zeroed, const char *call) {
    size_t front = guard_front(alignment), room;
    int saved = errno;
    char *base;
    base = variant_allocate(alignment, front + size + CANARY, zeroed);
    if (!base) {
        while (quarantine_shift(call)) {
        }
        base = variant_allocate(alignment, front + size + CANARY, zeroed);
    }
    if (!base || heap_usable(base, call) < front + size + CANARY) {
        if (base)
            heap_free(base, call);
        front = 0;
        base = variant_allocate(alignment, size, zeroed);
    }
    if (!base)
        return NULL;
    room = heap_usable(base, call);
    errno = saved;
    if (block_record(base, front, size, room, alignment, zeroed))
        return base + front;
    errno = saved;
    return block_bare(base);
}

static void *guard_allocate(size_t size) {
    return size > PTRDIFF_MAX ? os_refuse() : guard_place(ALIGNMENT, size, false, "malloc");
}

static void *guard_allocate_zeroed(size_t size) {
    return guard_place(ALIGNMENT, size, true, "calloc");
}

static void *guard_allocate_aligned(size_t alignment, size_t size) {
    return guard_place(alignment, size, false, "malloc");
}

/* ── freeing ───────────────────────────────────────────────────────────────── */

/* Claims the record of a live block and returns its number; 0 for a block without a record.
 * For anything else, says what the pointer is, and aborts. */
static uint32_t guard_check(char *p, const char *call) {
    uint32_t number = record_number(p);
    struct record *r = number && number != GONE ? record_at(number) : NULL;
    enum state state = r ? record_claim(r) : IDLE;
    if (state == FREED)
        accuse(r, call, "%s of %p (%zu bytes)", freed_twice(call), (void *)p, r->size);
    if (state == LIVE) {
        record_verify(r, false, call);
        return number;
    }
    if (number) /* in the map, but given back, just now or long ago */
        accuse(NULL, call, "%s of %p (it was given back)", freed_twice(call), (void *)p);
    if (!atomic_load(&guard.unknown) || record_of_base(p))
        pointer_accuse(p, call);
    return 0;
}

/* A block from malloc must go to free, one from new to delete, one from new[] to delete[]. But an
 * operator new that is not ours (a static libstdc++'s) called malloc, and its delete may call free
 * or ours. */
static void guard_match(struct record *r, enum made made, const char *call) {
    static const char *const names[] = {"malloc", "operator new", "operator new[]"};
    bool match = r->made == made || !guard.match ||
                 (r->made == MADE_BY_MALLOC && frame_is(r->allocated[0], "_Zn"));
    if (unlikely(!match))
        accuse(r, call, "%p (%zu bytes) was allocated by %s, not by %s", (void *)r->user, r->size,
               names[r->made], names[made]);
}

static void guard_give(void *p, enum made made, const char *call) {
    if (!p)
        return;
    uint32_t number = guard_check(p, call);
    if (!number) {
        atomic_fetch_sub(&guard.unknown, 1);
        heap_free(p, call);
        return;
    }
    struct record *r = record_at(number);
    int saved = errno;
    guard_match(r, made, call);
    if (record_extent(r) > guard.quarantine)
        block_return(number, call);
    else {
        stack_walk(r->freed);
        if ((r->filled = guard.fill))
            memset(p, FREED_FILL, filled_size(r->size));
        quarantine_enter(number, call);
    }
    errno = saved;
}

static void guard_free(void *p, const char *call) {
    guard_give(p, MADE_BY_MALLOC, call);
}

static size_t guard_usable(void *p, const char *call) {
    uint32_t number = guard_check(p, call);
    if (!number)
        return heap_usable(p, call);
    struct record *r = record_at(number);
    size_t size = r->size;
    record_release(r, LIVE);
    return size;
}

/* The size and alignment that the program states (C23's sized free) must be those it asked for. */
static void guard_expect(void *p, size_t alignment, size_t size, const char *call) {
    uint32_t number = guard_check(p, call);
    if (!number) {
        heap_expect(p, alignment, size, call);
        return;
    }
    struct record *r = record_at(number);
    size_t is = (size_t)1 << r->alignment, said = alignment > ALIGNMENT ? alignment : ALIGNMENT;
    if (r->size != size)
        accuse(r, call, "%p is a block of %zu bytes, not %zu", p, r->size, size);
    if (alignment && is != said)
        accuse(r, call, "%p was allocated with an alignment of %zu bytes, not %zu", p, is, said);
    record_release(r, LIVE);
}

/* Lets the variant resize a large block, in place or by moving pages. Removes the old address
 * from the map first. NULL if the variant cannot. */
static void *guard_grow(uint32_t number, size_t size, const char *call) {
    struct record *r = record_at(number);
    char *base = r->user - r->front, *moved;
    size_t front = r->front, old = r->size;
    atomic_store(slot_of(r->user, false), GONE);
    moved = heap_resize(base, front + size + CANARY, call);
    if (!moved) {
        atomic_store(slot_of(r->user, false), number);
        return NULL;
    }
    size_t known = old < size ? old : size;
    r->user = moved + front;
    r->size = size;
    record_room(r, heap_usable(moved, call));
    r->alignment = (uint8_t)__builtin_ctzl(ALIGNMENT);
    stack_walk(r->allocated);
    canaries_write(r);
    if (guard.fill && known < FILL_MOST)
        memset(r->user + known, FRESH_FILL, filled_size(size) - known);
    _Atomic(uint32_t) *slot = slot_of(r->user, true);
    if (slot) {
        record_release(r, LIVE);
        atomic_store(slot, number);
        return r->user;
    }
    /* no memory for the map: without a record, the block must begin where the variant's does */
    memmove(moved, moved + front, size);
    record_give(number);
    return block_bare(moved);
}

static void *guard_resize(void *p, size_t size, const char *call) {
    uint32_t number = guard_check(p, call);
    if (!number)
        return heap_resize(p, size, call);
    struct record *r = record_at(number);
    size_t old = r->size;
    int saved = errno;
    void *new = NULL;
    guard_match(r, MADE_BY_MALLOC, call);
    if (old >= MOVED && size >= MOVED && r->front && r->rear)
        new = guard_grow(number, size, call);
    if (new) {
        errno = saved;
        return new;
    }
    record_release(r, LIVE);
    new = guard_place(ALIGNMENT, size, false, call);
    if (new) {
        memcpy(new, p, old < size ? old : size);
        guard_free(p, call);
        return new;
    }
    if (size > old)
        return NULL;
    record_claim(r); /* no memory, but a block can shrink where it stands */
    r->size = size;
    canaries_write(r);
    record_release(r, LIVE);
    return p;
}

/* Empties the quarantine, and then trims the variant. */
static size_t guard_trim(size_t pad) {
    size_t held = atomic_load(&guard.held);
    while (quarantine_shift("malloc_trim")) {
    }
    size_t given = heap_trim(pad);
    return given ? given : held;
}

/* ── looking at it ─────────────────────────────────────────────────────────── */

/* Describes the variant's heap, with the program's blocks in place of the variant's; those in
 * quarantine are free. */
static void guard_snapshot(struct snapshot *out) {
    struct snapshot under = {0};
    heap_snapshot(&under);
    for (size_t i = 0; i < under.count; i++) {
        struct libmalloc_chunk *c = &under.chunks[i];
        struct record *r = c->user ? record_of_base(c->user) : NULL;
        uint32_t state = r ? r->state : IDLE;
        if (state != IDLE && c->usable == r->room) { /* dumb describes all blocks as one */
            c->user = r->user;
            c->usable = r->size;
            c->kind = state == FREED ? LIBMALLOC_FREE : LIBMALLOC_LIVE;
        }
        snapshot_add(out, *c);
    }
    out->failed |= under.failed;
    snapshot_drop(&under);
}

/* Calls `visit` for each record in use, and claims it meanwhile. Skips one that is claimed
 * already, because another thread is changing it. */
static void records_visit(void (*visit)(struct record *, bool freed, void *), void *arg) {
    uint32_t last = atomic_load(&guard.made);
    for (uint32_t number = 1; number <= last; number++) {
        struct record *r = record_at(number);
        uint32_t state = atomic_load(&r->state);
        if ((state != LIVE && state != FREED) ||
            !atomic_compare_exchange_strong(&r->state, &state, CLAIMED))
            continue;
        visit(r, state == FREED, arg);
        record_release(r, state);
    }
}

static void record_report(struct record *r, bool freed, void *out) {
    char line[FINDING];
    bool broken = record_broken(r, freed, line);
    expect(out, !broken, "%s", line);
}

static void guard_verify(struct findings *out) {
    heap_verify(out);
    records_visit(record_report, out);
}

/* Counts the program's blocks; in a signal handler, the variant's. */
static bool guard_count(struct libmalloc_stats *out, bool patient) {
    return patient ? heap_tally(out, true) : heap_count(out, false);
}

static size_t guard_overhead(void) {
    return heap_overhead() + sizeof guard + sizeof quarantine_slots + atomic_load(&guard.mapped);
}

/* ── the beginning and the end ─────────────────────────────────────────────── */

static bool option_is(const char *option, const char *key, unsigned long most, unsigned long *to) {
    size_t length = strlen(key);
    char *rest;
    if (strncmp(option, key, length) || option[length] != '=')
        return false;
    const char *digits = option + length + 1;
    unsigned long value = strtoul(digits, &rest, 10);
    if (*digits >= '0' && *digits <= '9' && (!*rest || *rest == ',') && value <= most)
        *to = value;
    return true;
}

/* Reads LIBMALLOC_DEBUG, except in setuid programs. A key or value that is unknown leaves the
 * default in place; `libmalloc run` and `doctor` refuse it. */
__attribute__((constructor)) static void guard_begin(void) {
    unsigned long quarantine = guard.quarantine, stack = guard.stack, fill = 1, leaks = 0,
                  match = 1, lines_wanted = 1;
    const char *option = secure_getenv("LIBMALLOC_DEBUG");
    while (option) {
        (void)(option_is(option, "quarantine", PTRDIFF_MAX, &quarantine) ||
               option_is(option, "stack", STACK_MOST, &stack) ||
               option_is(option, "fill", 1, &fill) || option_is(option, "leaks", 1, &leaks) ||
               option_is(option, "match", 1, &match) ||
               option_is(option, "lines", 1, &lines_wanted));
        option = strchr(option, ',');
        option = option ? option + 1 : NULL;
    }
    guard.quarantine = quarantine;
    guard.stack = (unsigned)stack;
    guard.fill = fill;
    guard.leaks = leaks;
    guard.match = match;
    guard.lines = lines_wanted;
    finding_begin();
    lines_prepare();
}

static void record_verify_last(struct record *r, bool freed, void *arg) {
    (void)arg;
    record_verify(r, freed, "exit");
}

/* Checks all blocks. Later destructors may still free blocks, and these are checked as before. */
__attribute__((destructor)) static void guard_end(void) {
    records_visit(record_verify_last, NULL);
    if (guard.leaks)
        leaks_report();
}

#include "cplusplus.h"

/* ── from here on, the guard's verbs are the contract's ────────────────────── */

#define heap_allocate         guard_allocate
#define heap_allocate_zeroed  guard_allocate_zeroed
#define heap_allocate_aligned guard_allocate_aligned
#define heap_free             guard_free
#define heap_resize           guard_resize
#define heap_usable           guard_usable
#define heap_expect           guard_expect
#define heap_trim             guard_trim
#define heap_snapshot         guard_snapshot
#define heap_verify           guard_verify
#define heap_overhead         guard_overhead
#define heap_count            guard_count
