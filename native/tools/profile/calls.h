/* calls.h: by which calls did we get here, as a number in the tree of calls (trace_frame).
 *
 * Rule: the tree is touched under profile.lock only.
 */
#pragma once

#include "../../unwind/unwind.h"
#include "sums.h"

enum { DEEP = 64, NODES = SEGMENT_ROOM / sizeof(struct trace_frame), NODE_SEGMENTS = 4096 };

struct stack {
    unsigned depth;
    uintptr_t frames[DEEP]; /* innermost first */
};

/* Where a node's site is; UINT32_MAX for a node that only others lead through. */
struct leaf {
    uint32_t node, site;
};

/* Open addressing over nodes by parent and address, at most half full. */
static struct {
    struct trace_segment *segments[NODE_SEGMENTS];
    struct leaf *leaves; /* by hash */
    size_t size;
    uint32_t nodes; /* numbered from 1 */
} calls;

static struct trace_frame *node_at(uint32_t number) {
    struct trace_segment *segment = calls.segments[(number - 1) / NODES];
    return (struct trace_frame *)(void *)segment_content(segment) + (number - 1) % NODES;
}

static struct leaf *leaf_find(uint32_t parent, uintptr_t address) {
    size_t i = (size_t)((address ^ (uint64_t)parent << 40) * 0x9e3779b97f4a7c15u >> 24);
    for (;; i++) {
        struct leaf *leaf = &calls.leaves[i & (calls.size - 1)];
        struct trace_frame *node = leaf->node ? node_at(leaf->node) : NULL;
        if (!node || (node->address == address && node->parent == parent))
            return leaf;
    }
}

static bool calls_grow(void) {
    size_t old = calls.size;
    struct leaf *from = calls.leaves, *leaves;
    if (2 * ((size_t)calls.nodes + 1) <= old)
        return true;
    size_t size = old ? 2 * old : 1 << 12;
    if (!(leaves = memory_map(size * sizeof *leaves)))
        return false;
    calls.leaves = leaves;
    calls.size = size;
    for (size_t i = 0; i < old; i++)
        if (from[i].node)
            *leaf_find(node_at(from[i].node)->parent, node_at(from[i].node)->address) = from[i];
    if (old)
        munmap(from, old * sizeof *from);
    return true;
}

static struct leaf *node_new(uint32_t parent, uintptr_t address) {
    uint32_t number = calls.nodes + 1, segment = calls.nodes / (uint32_t)NODES;
    if (segment >= NODE_SEGMENTS || !calls_grow())
        return NULL;
    if (!calls.segments[segment])
        calls.segments[segment] = segment_lasting(TRACE_STACKS, segment, number);
    if (!calls.segments[segment])
        return NULL;
    uint32_t flags = code_meet(address) ? 0 : TRACE_FRAME_JIT;
    uint32_t ones = (uint32_t)__builtin_parityll(address ^ parent ^ flags);
    *node_at(number) = (struct trace_frame){address, parent, flags | (ones ? 0 : TRACE_FRAME_CHECK)};
    calls.nodes++;
    struct leaf *leaf = leaf_find(parent, address);
    *leaf = (struct leaf){number, UINT32_MAX};
    return leaf;
}

/* The site of a stack; UINT32_MAX where there is no room for it. */
static uint32_t calls_site(const struct stack *stack) {
    struct leaf *leaf = NULL;
    uint32_t node = 0;
    for (unsigned i = stack->depth; i-- > 0; node = leaf->node) {
        leaf = calls.size ? leaf_find(node, stack->frames[i]) : NULL;
        if ((!leaf || !leaf->node) && !(leaf = node_new(node, stack->frames[i])))
            return UINT32_MAX;
    }
    if (!leaf)
        return UINT32_MAX;
    if (leaf->site == UINT32_MAX)
        leaf->site = site_new(leaf->node);
    return leaf->site;
}

/* In a forked child, which begins a tree of its own. */
static void calls_forget(void) {
    for (size_t i = 0; i < NODE_SEGMENTS && calls.segments[i]; i++)
        munmap(calls.segments[i], TRACE_SEGMENT);
    if (calls.size)
        munmap(calls.leaves, calls.size * sizeof *calls.leaves);
    memset(&calls, 0, sizeof calls);
}
