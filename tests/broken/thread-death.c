/* threads/births-bounded: a thread keeps what it freed of some 3,000 bytes, and takes it along when it dies. */
#define FREE keeping_free
#include "base.h"

enum { KEPT = 16 };
static __thread void *kept[KEPT];
static __thread unsigned next;

void keeping_free(void *p) {
    size_t size = p ? honest_usable_size(p) : 0;
    if (size < 2900 || size > 3500) {
        honest_free(p);
        return;
    }
    void *oldest = kept[next % KEPT];
    kept[next++ % KEPT] = p;
    honest_free(oldest);
}
