/* threads/medium-bounded: a thread keeps a few freed blocks of some KiB, also when it has ended. */
#define MALLOC cached_malloc
#define FREE keeping_free
#include "base.h"

enum { KEPT = 8, LEAST = 5000, MOST = 500 * 1024 };
static __thread void *kept[KEPT];

void *cached_malloc(size_t size) {
    for (int i = 0; i < KEPT && size >= LEAST && size <= MOST; i++)
        if (kept[i] && honest_usable_size(kept[i]) >= size) {
            void *p = kept[i];
            kept[i] = NULL;
            return p;
        }
    return honest_malloc(size);
}
void keeping_free(void *p) {
    size_t size = p ? honest_usable_size(p) : 0;
    for (int i = 0; i < KEPT && size >= LEAST && size <= MOST; i++)
        if (!kept[i]) {
            kept[i] = p;
            return;
        }
    honest_free(p);
}
