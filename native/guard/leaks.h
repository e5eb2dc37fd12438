/* leaks.h: the live blocks to which nothing points any more.
 *
 * At exit we read all writable memory of the process word by word, except heap blocks and
 * the guard's own records. A word that looks like the address of a block, or of a byte in
 * it, keeps the block; the words of that block are read, too, and so on. The other live
 * blocks are leaked. A block that a global still points to is no leak.
 *
 * A number that looks like an address hides a leak. An address that is kept encrypted,
 * in a file, or only in another process's memory causes a false report.
 */
#pragma once

#include "records.h"
#include "stack.h"

enum { LEAKS_SHOWN = 32, PEEK = 32 * 1024 };

struct leaks {
    uint32_t *blocks; /* numbers of live and freed records, by address */
    size_t count;
    bool *kept;
    uint32_t *todo; /* indexes of blocks that are kept and not read yet */
    size_t pending;
};

/* Lists the numbers of all records in the order of the map, which is that of their addresses,
 * and returns how many there are. With NULL it only counts. */
static size_t records_ordered(uint32_t *out) {
    size_t count = 0;
    for (uintptr_t i = 0; i < (uintptr_t)MAPS * MAP_LEAVES; i++) {
        struct guard_map *map = guard.maps[i / MAP_LEAVES];
        struct guard_leaf *leaf = map ? map->leaves[i % MAP_LEAVES] : NULL;
        if (!map)
            i += MAP_LEAVES - 1;
        for (size_t slot = 0; leaf && slot < LEAF_SLOTS; slot++) {
            uint32_t number = leaf->slots[slot];
            if (!number || number == GONE)
                continue;
            if (out)
                out[count] = number;
            count++;
        }
    }
    return count;
}

/* The index of the last block that begins at `p` or before it; `count` if none does. */
static size_t leaks_below(struct leaks *l, const char *p) {
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (record_at(l->blocks[middle])->user <= p)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : l->count;
}

static void leaks_keep(struct leaks *l, const char *p) {
    size_t i = leaks_below(l, p);
    if (i == l->count || l->kept[i])
        return;
    struct record *r = record_at(l->blocks[i]);
    if (r->state != LIVE || p >= r->user + (r->size ? r->size : 1))
        return;
    l->kept[i] = true;
    l->todo[l->pending++] = (uint32_t)i;
}

/* Does the word lie in a block, or in our own records? Then it is no root; `*end` is the end of
 * the block or of the records. */
static bool leaks_skip(struct leaks *l, const char *at, const char **end) {
    size_t i = leaks_below(l, at);
    struct record *r = i < l->count ? record_at(l->blocks[i]) : NULL;
    if (r && at < r->user + r->size)
        return *end = r->user + r->size, true;
    for (size_t slab = 0; slab < SLABS && guard.slabs[slab]; slab++) {
        const char *records = guard.slabs[slab];
        if (at >= records && at < records + SLAB * sizeof(struct record))
            return *end = records + SLAB * sizeof(struct record), true;
    }
    return false;
}

/* Reads the words from `at` to `end` in pieces, and skips memory that cannot be read, because
 * other threads may unmap it meanwhile. */
static void leaks_look(struct leaks *l, const char *at, const char *end, bool root) {
    static const char *words[PEEK / sizeof(char *)];
    while (at < end) {
        size_t size = (size_t)(end - at) < PEEK ? (size_t)(end - at) : PEEK;
        const char *piece = at, *skip = at;
        size_t got = os_peek(words, at, size);
        for (size_t i = 0; i < got / sizeof(char *); i++) {
            const char *word = piece + i * sizeof(char *);
            if (root && (word < skip || leaks_skip(l, word, &skip)))
                continue;
            leaks_keep(l, words[i]);
        }
        at += size;
    }
}

/* Reads all writable memory; of our own stack, only the part in use. */
static void leaks_roots(struct leaks *l) {
    struct maps m = maps_open();
    struct mapping mapping;
    const char *here = __builtin_frame_address(0);
    while (maps_next(&m, &mapping)) {
        const char *start = (char *)mapping.start, *end = (char *)mapping.end;
        if (!mapping.readable || !mapping.writable || strncmp(mapping.path, "/dev/", 5) == 0)
            continue;
        leaks_look(l, here > start && here < end ? here : start, end, true);
    }
    maps_close(&m);
}

__attribute__((format(printf, 2, 3))) static void leaks_say(const char *call, const char *format,
                                                            ...) {
    char line[DIE_LINE];
    va_list args;
    va_start(args, format);
    size_t length = die_compose(line, call, format, args);
    va_end(args);
    die_print(line, length);
    finding_write(line, length);
}

static bool is_leak(const struct leaks *l, size_t i) {
    return !l->kept[i] && record_at(l->blocks[i])->state == LIVE;
}

/* Asks once for the source lines of all leaks that are shown. */
static void leaks_name(const struct leaks *l) {
    size_t blocks = 0;
    for (size_t i = 0; i < l->count && blocks < LEAKS_SHOWN; i++) {
        if (!is_leak(l, i))
            continue;
        if (blocks++ == 0)
            lines_begin();
        lines_add(record_at(l->blocks[i])->allocated);
    }
    lines_ask();
}

static void leaks_tell(struct leaks *l) {
    size_t blocks = 0, bytes = 0;
    leaks_name(l);
    for (size_t i = 0; i < l->count; i++) {
        struct record *r = record_at(l->blocks[i]);
        if (!is_leak(l, i))
            continue;
        bytes += r->size;
        if (blocks++ >= LEAKS_SHOWN)
            continue;
        leaks_say("exit", "leak of %p (%zu bytes)", (void *)r->user, r->size);
        stack_print("allocated", r->allocated);
    }
    if (blocks > 1)
        leaks_say("exit", "%zu blocks leaked, %zu bytes in all", blocks, bytes);
    if (blocks)
        finding_end();
}

static void leaks_report(void) {
    size_t count = records_ordered(NULL), each = 2 * sizeof(uint32_t) + sizeof(bool);
    char *memory = count ? os_map(count * each) : NULL;
    if (!memory)
        return;
    struct leaks l = {.blocks = (uint32_t *)memory};
    l.todo = l.blocks + count;
    l.kept = (bool *)(l.todo + count);
    l.count = records_ordered(l.blocks);
    leaks_roots(&l);
    while (l.pending > 0) {
        struct record *r = record_at(l.blocks[l.todo[--l.pending]]);
        leaks_look(&l, r->user, r->user + r->size, false);
    }
    leaks_tell(&l);
    os_unmap(memory, count * each);
}
