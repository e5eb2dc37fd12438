/* canary.h: canaries around a block and patterns in it, by which we find stray writes.
 *
 *      base          user                user + size
 *      ├──── front ──┼────── size ───────┼─ rear ─┤
 *      │  … canary   │ fresh or freed    │ canary │
 *      └─────────────┴───────────────────┴────────┘
 *
 * After a finding we print a sentence and the calls that allocated the block, freed it and
 * found out (stack.h), and abort the program.
 */
#pragma once

#include "../base/die.h"
#include "records.h"
#include "stack.h"

enum {
    FRESH_FILL = 0xc5,
    FREED_FILL = 0xdf,
    FILL_MOST = 1 << 20, /* bytes; more of a large block is not worth its page faults */
    CANARY = ALIGNMENT,  /* bytes at least; more where the variant's block is larger */
    CANARY_MOST = 64,
};

/* ── accusing ──────────────────────────────────────────────────────────────── */

/* Prints the sentence and the stacks of the block's allocation, its free and this call; aborts. */
__attribute__((cold, noreturn, noinline, format(printf, 3, 4))) static void
accuse(const struct record *r, const char *call, const char *format, ...) {
    char line[DIE_LINE];
    va_list args;
    va_start(args, format);
    size_t length = die_compose(line, call, format, args);
    va_end(args);
    die_detected(line, length);
    finding_write(line, length);
    void *here[STACK_MOST];
    stack_walk(here);
    lines_begin();
    lines_add(here);
    if (r) {
        lines_add(r->allocated);
        lines_add(r->freed);
    }
    lines_ask();
    if (r)
        stack_print("allocated", r->allocated);
    if (r)
        stack_print("freed", r->freed);
    stack_print("found in", here);
    finding_end();
    locks_freeze();
    abort();
}

/* `1 byte was`, `3 bytes were`; if `more`, `16 bytes or more were`: all of a canary. */
static const char *plural(size_t n, bool more) {
    return more ? "bytes or more were" : n == 1 ? "byte was" : "bytes were";
}

/* The pointer is no block that we know: says where it lies instead, and aborts. */
static COLD void pointer_accuse(const char *p, const char *call) {
    const void *at = p;
    struct record *r = record_below(p);
    if (r && r->state != IDLE && p < r->user + r->size)
        accuse(r, call, "%p is not a block: it lies %zu bytes into %p (%zu bytes)", at,
               (size_t)(p - r->user), (void *)r->user, r->size);
    if (r && r->state != IDLE && p < r->user + r->size + r->rear)
        accuse(r, call, "%p is not a block: it lies %zu bytes behind the end of %p (%zu bytes)",
               at, (size_t)(p - r->user) - r->size, (void *)r->user, r->size);
    for (const char *above = p; above - p <= CANARY_MOST; above++)
        if ((r = record_find(above)) && p >= r->user - r->front)
            accuse(r, call, "%p is not a block: it lies %zu bytes before %p (%zu bytes)", at,
                   (size_t)(r->user - p), (void *)r->user, r->size);
    accuse(NULL, call, "%p is not a block of this heap", at);
}

/* ── canaries and patterns ─────────────────────────────────────────────────── */

/* Depends on the address, so that a copy of a neighbour's byte is found; and is neither zero,
 * nor text, nor -1, because programs write these one byte too far. */
static unsigned char canary(const char *at) {
    return (unsigned char)(0x80 | ((uintptr_t)at * 37 & 0x3f));
}

static char *front_canary(struct record *r) {
    return r->user - (r->front < CANARY_MOST ? r->front : CANARY_MOST);
}

static void canaries_write(struct record *r) {
    for (char *at = front_canary(r); at < r->user; at++)
        *at = (char)canary(at);
    for (char *at = r->user + r->size; at < r->user + r->size + r->rear; at++)
        *at = (char)canary(at);
}

/* The length of the damage to a canary, from the first changed byte, which goes to `*first`,
 * to the last. */
static size_t canary_damage(char *at, const char *end, char **first) {
    char *last = *first = NULL;
    for (; at < end; at++)
        if ((unsigned char)*at != canary(at)) {
            *first = *first ? *first : at;
            last = at;
        }
    return *first ? (size_t)(last - *first) + 1 : 0;
}

static size_t filled_size(size_t size) { return size < FILL_MOST ? size : FILL_MOST; }

static size_t fill_damage(struct record *r, char **first) {
    char *end = r->user + filled_size(r->size), *last = NULL;
    *first = r->user;
    while (*first < end && (unsigned char)**first == FREED_FILL)
        ++*first;
    for (char *at = *first; at < end; at++)
        last = (unsigned char)*at == FREED_FILL ? last : at;
    return last ? (size_t)(last - *first) + 1 : 0;
}

/* Is the block damaged? Then `line` gets the sentence. Damage to a freed block happened after
 * its free, because free has looked at it. */
enum { FINDING = 160 };
static bool record_broken(struct record *r, bool freed, char line[FINDING]) {
    void *p = r->user;
    char *end = r->user + r->size, *first;
    size_t n = canary_damage(end, end + r->rear, &first);
    bool front = !n && (n = canary_damage(front_canary(r), r->user, &first));
    const char *what = freed ? "write after free to" : front ? "underflow of" : "overflow of";
    if (n) {
        bool more = front ? first == front_canary(r) : first + n == end + r->rear;
        snprintf(line, FINDING, "%s %p (%zu bytes): %zu %s written %s it", what, p, r->size, n,
                 plural(n, more), front ? "in front of" : "behind");
        return true;
    }
    if (!freed || !r->filled || !(n = fill_damage(r, &first)))
        return false;
    snprintf(line, FINDING, "%s %p (%zu bytes): %zu %s written, %zu into it", what, p, r->size, n,
             plural(n, false), (size_t)(first - r->user));
    return true;
}

static void record_verify(struct record *r, bool freed, const char *call) {
    char line[FINDING];
    if (unlikely(record_broken(r, freed, line)))
        accuse(r, call, "%s", line);
}
