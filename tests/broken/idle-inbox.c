/* structure/idle-owner: what another thread frees waits for the next malloc of its owner. */
#define MALLOC owned_malloc
#define FREE owners_free
#include "base.h"

struct owner {
    _Atomic(struct block *) inbox;
    atomic_bool dead;
};
struct block {
    struct block *next;
};
static __thread struct owner *me;
static pthread_key_t key;
static bool begun;

/* Who allocated a block is remembered by its page; good enough for a mistake. */
static _Atomic(struct owner *) owners[1 << 16];

static _Atomic(struct owner *) *owner_of(void *p) { return &owners[(uintptr_t)p >> 12 & 0xffff]; }

static void drain(struct owner *owner) {
    struct block *all = atomic_exchange(&owner->inbox, NULL);
    for (struct block *next; all; all = next) {
        next = all->next;
        honest_free(all);
    }
}

static void end_of_thread(void *owner) {
    atomic_store(&((struct owner *)owner)->dead, true);
    drain(owner);
}
__attribute__((constructor)) static void begin(void) {
    begun = !pthread_key_create(&key, end_of_thread);
}

void *owned_malloc(size_t size) {
    if (!me && begun) {
        me = os_map(sizeof *me);
        pthread_setspecific(key, me);
    }
    if (me && atomic_load_explicit(&me->inbox, memory_order_relaxed))
        drain(me);
    void *p = honest_malloc(size);
    *owner_of(p) = me;
    return p;
}
void owners_free(void *p) {
    struct owner *owner = p ? *owner_of(p) : NULL;
    if (!owner || owner == me || atomic_load(&owner->dead)) {
        honest_free(p);
        return;
    }
    struct block *block = p;
    block->next = atomic_load(&owner->inbox);
    while (!atomic_compare_exchange_weak(&owner->inbox, &block->next, block)) {
    }
}
