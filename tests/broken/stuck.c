/* basics/calls: free looks for an empty place in a table that nobody ever empties. */
#define FREE placing_free
#include "base.h"

enum { PLACES = 256 };
static _Atomic(void *) places[PLACES];

void placing_free(void *p) {
    for (size_t i = 0; p; i = (i + 1) % PLACES) {
        void *none = NULL;
        if (atomic_compare_exchange_strong(&places[i], &none, p))
            return;
    }
}
