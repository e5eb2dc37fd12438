/* Two threads take turns at malloc and free, and mark in memory where their calls begin and end:
 * from the loads and stores of this process, tests/lib/lines.ts can tell which thread touched which
 * cache line, and whether it did so inside a call. Only one thread runs at any time.
 *
 *     cache-lines local|remote [size] [blocks in a turn] [measured turns]
 *
 * local: each thread makes blocks and frees them. remote: the first makes them, the second frees
 * them. A few turns before the first mark warm everything up. Writes `struct told`, as words of
 * eight bytes, to standard output.
 */
#include "program.h"
#include <sys/syscall.h>

enum { BLOCKS = 1024, TURNS = 16, WARM = 5 };

/* A store to `begin` says that calls of that thread follow. Each on a line of its own. */
static struct {
    _Alignas(64) volatile char begin, end;
} mark[2];

static struct told {
    void *program, *program_end; /* its own instructions */
    volatile void *begin[2], *end[2];
    void *block[TURNS][BLOCKS]; /* those that were passed on */
} told;

static _Alignas(64) atomic_size_t turn;
static _Alignas(64) void *block[2][BLOCKS];
static bool remote;
static size_t size, blocks, turns;

/* Waits by instructions of this program, so that they are not taken for those of a call. */
static void yield(void) {
#ifdef __x86_64__
    long result = SYS_sched_yield;
    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
#else
    register long number __asm__("x8") = SYS_sched_yield, result __asm__("x0");
    __asm__ volatile("svc 0" : "=r"(result) : "r"(number) : "memory");
#endif
}

static void make(void **p) {
    for (size_t i = 0; i < blocks; i++) {
        p[i] = malloc(size);
        check(p[i], "malloc(%zu) failed", size);
        *(char *)p[i] = 1;
    }
}

static void drop(void **p) {
    for (size_t i = 0; i < blocks; i++)
        free(p[i]);
}

static void *work(void *arg) {
    size_t me = (size_t)arg, owner = remote ? 0 : me;
    for (size_t i = 0; i < WARM + turns; i++) {
        while (turn != me)
            yield();
        if (i >= WARM)
            mark[me].begin = 1;
        if (!remote || me == 0)
            make(block[owner]);
        if (!remote || me == 1)
            drop(block[owner]);
        if (i >= WARM) {
            mark[me].end = 1;
            if (remote)
                memcpy(told.block[i - WARM], block[0], sizeof block[0]);
        }
        turn = 1 - me;
    }
    return NULL;
}

int main(int argc, char **argv) {
    extern char __executable_start, etext;
    remote = argc > 1 && !strcmp(argv[1], "remote");
    size = (size_t)argument(argc, argv, 2, 32);
    blocks = (size_t)argument(argc, argv, 3, 640);
    turns = (size_t)argument(argc, argv, 4, 3);
    check(blocks <= BLOCKS && turns <= TURNS, "at most %d blocks, %d turns", BLOCKS, TURNS);
    pthread_t other = start(work, (void *)1);
    work((void *)0);
    join(other);
    told.program = &__executable_start;
    told.program_end = &etext;
    for (int i = 0; i < 2; i++) {
        told.begin[i] = &mark[i].begin;
        told.end[i] = &mark[i].end;
    }
    check(write(STDOUT_FILENO, &told, sizeof told) == sizeof told, "nobody listens");
    return 0;
}
