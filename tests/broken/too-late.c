/* process/exit: after its own destructor has run there is no memory any more. */
#define MALLOC mortal_malloc
#define CALLOC mortal_calloc
#include "base.h"

static bool over;
__attribute__((destructor)) static void end(void) { over = true; }

void *mortal_malloc(size_t size) { return over ? os_refuse() : honest_malloc(size); }
void *mortal_calloc(size_t count, size_t size) {
    return over ? os_refuse() : honest_calloc(count, size);
}
