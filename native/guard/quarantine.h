/* quarantine.h: freed blocks wait before the variant gets them back, so that we can still
 * find a second free and a late write.
 *
 *      enter ──> │ tail … │ … │ head │ ──> checked again, and back to the variant
 *
 * A ring of record numbers. When it holds too many bytes or blocks, the oldest leave. A
 * thread that takes a number out of its slot owns that block; no thread waits for another.
 */
#pragma once

#include "canary.h"
#include "records.h"

enum { QUARANTINE = 1 << 12 }; /* blocks */

static _Atomic(uint32_t) quarantine_slots[QUARANTINE];

static size_t record_extent(struct record *r) { return r->front + r->size + r->rear; }

/* Gives a freed block, which this thread has claimed, back to the variant. Removes it from the
 * map first, because another thread may get the same address at once. */
static void block_return(uint32_t number, const char *call) {
    struct record *r = record_at(number);
    char *base = r->user - r->front;
    atomic_store(slot_of(r->user, false), GONE);
    record_give(number);
    heap_free(base, call);
}

static void quarantine_leave(uint32_t number, const char *call) {
    struct record *r = record_at(number);
    record_claim(r);
    record_verify(r, true, call);
    atomic_fetch_sub(&guard.held, record_extent(r));
    block_return(number, call);
}

/* Takes the oldest block out of the quarantine; false if there is none. */
static bool quarantine_shift(const char *call) {
    uint64_t head = atomic_load(&guard.head);
    do {
        if (head >= atomic_load(&guard.tail))
            return false;
    } while (!atomic_compare_exchange_weak(&guard.head, &head, head + 1));
    uint32_t number = atomic_exchange(&quarantine_slots[head % QUARANTINE], 0);
    if (number)
        quarantine_leave(number, call);
    return true;
}

static void quarantine_enter(uint32_t number, const char *call) {
    struct record *r = record_at(number);
    atomic_fetch_add(&guard.held, record_extent(r));
    record_release(r, FREED);
    uint64_t tail = atomic_fetch_add(&guard.tail, 1), head = atomic_load(&guard.head);
    while (head + QUARANTINE <= tail &&
           !atomic_compare_exchange_weak(&guard.head, &head, tail + 1 - QUARANTINE)) {
    }
    uint32_t oldest = atomic_exchange(&quarantine_slots[tail % QUARANTINE], number);
    if (oldest)
        quarantine_leave(oldest, call);
    while (atomic_load(&guard.held) > guard.quarantine && quarantine_shift(call)) {
    }
}
