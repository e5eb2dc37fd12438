/* process/fork-blocked: a blocked signal means to it that a handler forked: the child's heap freezes. */
#define MALLOC marking_malloc
#define FREE frozen_free
#include "base.h"
#include <signal.h>

/* When a block was allocated is remembered by its page; good enough for a mistake. */
static unsigned char generations[1 << 16], generation, frozen;

static unsigned char *generation_of(void *p) { return &generations[(uintptr_t)p >> 12 & 0xffff]; }

static void forked(void) {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    generation++;
    if (sigismember(&blocked, SIGUSR1))
        frozen = generation;
}
__attribute__((constructor)) static void begin(void) { pthread_atfork(NULL, NULL, forked); }

void *marking_malloc(size_t size) {
    void *p = honest_malloc(size);
    *generation_of(p) = generation;
    return p;
}
void frozen_free(void *p) {
    if (p && *generation_of(p) >= frozen)
        honest_free(p);
}
