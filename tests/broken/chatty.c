/* semantics/quiet: the first calls leave lines of debugging on standard error. */
#define MALLOC chatty_malloc
#define CALLOC chatty_calloc
#include "base.h"

static void tell(void) {
    static atomic_int told;
    if (atomic_fetch_add(&told, 1) < 100 && write(STDERR_FILENO, "malloc!\n", 8) < 0) { /* nobody reads it */
    }
}
void *chatty_malloc(size_t size) { return tell(), honest_malloc(size); }
void *chatty_calloc(size_t count, size_t size) { return tell(), honest_calloc(count, size); }
