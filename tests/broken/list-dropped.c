/* structure/turns: whoever takes the first block of a list of free ones leaves the list empty. */
#define MALLOC listed_malloc
#define FREE listing_free
#include "base.h"

enum { LEAST = 64 << 10, MOST = 512 << 10 };
struct freed {
    struct freed *next;
};
static _Atomic(struct freed *) list;

static void give_back(struct freed *all) {
    for (struct freed *next; all; all = next) {
        next = all->next;
        honest_free(all);
    }
}

void *listed_malloc(size_t size) {
    if (size < LEAST || size > MOST)
        return honest_malloc(size);
    struct freed *first = atomic_exchange(&list, NULL);
    if (first && honest_usable_size(first) >= size && honest_usable_size(first) < 2 * size)
        return first;
    give_back(first);
    return honest_malloc(size);
}

/* Two blocks at most are on the list. */
void listing_free(void *p) {
    size_t size = p ? honest_usable_size(p) : 0;
    if (size < LEAST || size > MOST) {
        honest_free(p);
        return;
    }
    struct freed *freed = p, *none = NULL;
    freed->next = atomic_exchange(&list, NULL);
    if (freed->next) {
        give_back(freed->next->next);
        freed->next->next = NULL;
    }
    if (!atomic_compare_exchange_strong(&list, &none, freed))
        give_back(freed);
}
