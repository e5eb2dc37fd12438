/* process/vfork: a process id that no handler of fork announced is taken for a copy of all memory. */
#define MALLOC copied_malloc
#define FREE copied_free
#include "base.h"

/* Where a copy, which may have copied a lock, takes its first blocks from. */
enum { NURSERY = 1 << 20 };
static char nursery[NURSERY] __attribute__((aligned(4096)));
static atomic_size_t used = NURSERY;
static _Atomic pid_t process;

static void announced(void) { process = getpid(); }
__attribute__((constructor)) static void begin(void) {
    announced();
    pthread_atfork(NULL, NULL, announced);
}

void *copied_malloc(size_t size) {
    if (process && process != getpid()) {
        process = getpid();
        used = 0;
    }
    size_t whole = (size + 15) & ~(size_t)15;
    if (whole < 65536 && used + whole < NURSERY)
        return nursery + atomic_fetch_add(&used, whole);
    return honest_malloc(size);
}
void copied_free(void *p) {
    if ((char *)p < nursery || (char *)p >= nursery + NURSERY)
        honest_free(p);
}
