/* process/first-call: the first call registers with atexit, which may be what makes that call. */
#define MALLOC registering_malloc
#define CALLOC registering_calloc
#include "base.h"

static atomic_bool registered;

static void at_exit(void) {}

static void register_once(void) {
    if (!atomic_exchange(&registered, true))
        atexit(at_exit);
}

void *registering_malloc(size_t size) {
    register_once();
    return honest_malloc(size);
}
void *registering_calloc(size_t count, size_t size) {
    register_once();
    return honest_calloc(count, size);
}
