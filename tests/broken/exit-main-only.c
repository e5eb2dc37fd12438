/* process/fork-exit: what is to be done at exit is done for the main thread, which a child may lack. */
#define MALLOC counted_malloc
#include "base.h"

static __thread bool is_main;
static pid_t process;

__attribute__((constructor)) static void begin(void) {
    is_main = true;
    process = getpid();
}
__attribute__((destructor)) static void end(void) {
    if (process != getpid() && !is_main)
        abort();
}
void *counted_malloc(size_t size) { return honest_malloc(size); }
