/* semantics/quiet: every call leaves a line of debugging on standard error. */
#define MALLOC chatty_malloc
#define CALLOC chatty_calloc
#include "base.h"

static void tell(void) {
    if (write(STDERR_FILENO, "malloc!\n", 8) < 0) { /* nobody reads it */
    }
}
void *chatty_malloc(size_t size) { return tell(), honest_malloc(size); }
void *chatty_calloc(size_t count, size_t size) { return tell(), honest_calloc(count, size); }
