/* calls.h: by which calls did we get here, and which site is that?
 *
 * Rule: the tree is touched under profile.lock only.
 */
#pragma once

#include "../trace/nodes.h"
#include "sums.h"

/* The site of each node that is the innermost of a stack, and 1; 0 of others. By node. */
static struct {
    uint32_t *sites;
    size_t size;
} leaves;

/* Room for a node; false without memory. */
static bool leaves_reach(uint32_t node) {
    size_t size = leaves.size ? leaves.size : 1 << 12;
    while (size <= node)
        size *= 2;
    if (size == leaves.size)
        return true;
    uint32_t *sites = memory_apart(size * sizeof *sites);
    if (!sites)
        return false;
    if (leaves.size) {
        memcpy(sites, leaves.sites, leaves.size * sizeof *sites);
        munmap(leaves.sites, leaves.size * sizeof *sites);
    }
    leaves.sites = sites;
    leaves.size = size;
    return true;
}

/* The site of the stack; UINT32_MAX where there is no room for it. */
static uint32_t calls_site(struct last *l) {
    uint32_t node = l->depth ? last_number(l, callers_node) : 0;
    if (!leaves_reach(node))
        return UINT32_MAX;
    if (!leaves.sites[node]) {
        uint32_t site = site_new(node);
        if (site == UINT32_MAX)
            return site;
        leaves.sites[node] = site + 1;
    }
    return leaves.sites[node] - 1;
}

/* In a forked child, which begins a tree of its own. */
static void calls_forget(void) {
    if (callers.segment)
        munmap(callers.segment, TRACE_SEGMENT);
    memset(&callers, 0, sizeof callers);
    callers.tree.memory = memory_apart;
    leaves.sites = NULL; /* our parent writes there */
    leaves.size = 0;
}
