/* tree.h: numbers for stacks. All stacks of a process are paths in one tree, and a stack is the
 * number of its innermost node: two stacks with the same callers share their nodes.
 *
 * A hash table leads from a node's parent and address to its number. It is read without a lock;
 * a thread that adds a node holds the lock of the tree's owner. A table that has become too small is
 * kept, because another thread may be reading it: all of them together are as large as the last.
 *
 * Memory comes from the tree's owner: zeroed, and never returned.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct tree_entry {
    uint64_t key;              /* address, and flags in the upper byte */
    uint32_t parent;
    _Atomic(uint32_t) number; /* 0: empty. Written last */
};

struct tree_table {
    uint64_t mask;
    struct tree_entry entries[];
};

struct tree {
    _Atomic(struct tree_table *) table;
    uint32_t count; /* nodes so far: the last one's number */
    void *(*memory)(size_t); /* NULL for none */
};

enum { TREE_FIRST = 1 << 12 };

static inline uint64_t tree_key(uintptr_t address, uint32_t flags) {
    return (uint64_t)address | (uint64_t)flags << 56;
}

/* Where the node is, or would be. */
static inline struct tree_entry *tree_place(struct tree_table *t, uint32_t parent, uint64_t key) {
    uint64_t hash = (key ^ (uint64_t)parent << 24) * 0x9e3779b97f4a7c15u;
    for (uint64_t at = hash >> 32;; at++) {
        struct tree_entry *e = &t->entries[at & t->mask];
        if (!atomic_load_explicit(&e->number, memory_order_acquire) ||
            (e->key == key && e->parent == parent))
            return e;
    }
}

/* The number of a node; 0 when there is none yet. */
static inline uint32_t tree_find(struct tree *tree, uint32_t parent, uint64_t key) {
    struct tree_table *t = atomic_load_explicit(&tree->table, memory_order_acquire);
    return t ? atomic_load_explicit(&tree_place(t, parent, key)->number, memory_order_relaxed) : 0;
}

static void tree_enter(struct tree_table *t, uint32_t parent, uint64_t key, uint32_t number) {
    struct tree_entry *e = tree_place(t, parent, key);
    e->key = key;
    e->parent = parent;
    atomic_store_explicit(&e->number, number, memory_order_release);
}

/* At most half full. False without memory. */
static int tree_grow(struct tree *tree) {
    struct tree_table *old = atomic_load(&tree->table);
    uint64_t size = old ? 2 * (old->mask + 1) : TREE_FIRST;
    struct tree_table *t = tree->memory(sizeof *t + size * sizeof *t->entries);
    if (!t)
        return 0;
    t->mask = size - 1;
    for (uint64_t i = 0; old && i <= old->mask; i++)
        if (old->entries[i].number)
            tree_enter(t, old->entries[i].parent, old->entries[i].key, old->entries[i].number);
    atomic_store_explicit(&tree->table, t, memory_order_release);
    return 1;
}

/* With the owner's lock held, and after tree_find found nothing under it: the new node's number, or
 * 0 without memory. */
static uint32_t tree_add(struct tree *tree, uint32_t parent, uint64_t key) {
    struct tree_table *t = atomic_load(&tree->table);
    if ((!t || 2 * (uint64_t)tree->count >= t->mask) && !tree_grow(tree) && !t)
        return 0;
    t = atomic_load(&tree->table);
    if (tree->count >= t->mask - 1)
        return 0;
    tree_enter(t, parent, key, ++tree->count);
    return tree->count;
}
