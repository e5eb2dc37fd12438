/* nodes.h: the tree of calls of a process, each node of which is written down once. */
#pragma once

#include "../../unwind/last.h"
#include "../../unwind/tree.h"
#include "process.h"

/* The tree of calls of this process, and the segment for its next nodes. */
static struct {
    struct tree tree;
    struct trace_segment *segment;
    struct trace_frame *at, *end;
    uint32_t order;
} callers = {.tree.memory = memory_apart};

/* Room for a node in a segment; false without any. With the lock. */
static bool callers_room(void) {
    if (callers.at < callers.end)
        return true;
    struct trace_segment *segment = callers.segment;
    size_t used = (size_t)((char *)callers.at - (char *)segment), room = used ? used : segment_step();
    if (segment && segment_extend(segment, room)) {
        callers.end = (void *)((char *)segment + TRACE_SEGMENT);
        return true;
    }
    if (segment)
        segment_empty(segment, used - sizeof *segment);
    else
        segment = callers.segment = segment_live(room);
    if (!segment)
        return false;
    segment_start(segment, TRACE_STACKS, 0, callers.order++, callers.tree.count + 1, file_now());
    callers.at = (void *)segment_content(segment);
    callers.end = (void *)((char *)segment + room);
    return true;
}

/* The address last: a reader, and a kill, find a whole node or none. */
static void callers_write(uintptr_t address, uint32_t parent, uint32_t flags) {
    if (!__builtin_parityll(address ^ parent ^ flags))
        flags |= TRACE_FRAME_CHECK;
    callers.at->parent = parent;
    callers.at->flags = flags;
    atomic_store_explicit((_Atomic(uint64_t) *)&callers.at->address, address, memory_order_release);
    callers.at++;
}

static uint32_t callers_node(uint32_t parent, const struct last_frame *f) {
    uint64_t key = tree_key(f->pc, f->flags);
    uint32_t number = tree_find(&callers.tree, parent, key);
    if (number || !callers_room() || !(number = tree_add(&callers.tree, parent, key)))
        return number;
    if (!(f->flags & LAST_JIT))
        code_meet(f->pc);
    callers_write(f->pc, parent, f->flags);
    return number;
}
