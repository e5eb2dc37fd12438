/* threads/aba: free blocks of some sizes are on lists without a lock that compare only the head. */
#define MALLOC popping_malloc
#define FREE pushing_free
#include "base.h"

struct link {
    _Atomic(struct link *) next;
};
static _Atomic(struct link *) lists[7]; /* by size / 16: of 48 to 96 bytes */

static bool has_list(size_t size) { return size >= 48 && size <= 96 && size % 16 == 0; }

void *popping_malloc(size_t size) {
    if (!has_list(size))
        return honest_malloc(size);
    struct link *head = atomic_load(&lists[size / 16]);
    while (head && !atomic_compare_exchange_weak(&lists[size / 16], &head, atomic_load(&head->next))) {
    }
    return head ? head : honest_malloc(size);
}
void pushing_free(void *p) {
    size_t size = p ? honest_usable_size(p) : 0;
    if (!has_list(size)) {
        honest_free(p);
        return;
    }
    struct link *link = p, *head = atomic_load(&lists[size / 16]);
    do
        atomic_store(&link->next, head);
    while (!atomic_compare_exchange_weak(&lists[size / 16], &head, link));
}
