/* fork at every instruction of malloc and its family. The processor's trap flag stops
 * the thread that is inside after each instruction, and there is a fork:
 *
 *     fork-anywhere self       by the signal handler that interrupted the call. The
 *                              child allocates in the handler, then returns from it,
 *                              so that the interrupted call ends in the child, too.
 *     fork-anywhere other      by another thread. In the child the call never ends.
 *     fork-anywhere waiting    by the signal handler of another thread that is inside
 *                              malloc, too, and waits for the stopped one.
 *
 * In every child old blocks can be read, resized and freed, new ones overlap
 * no other, and it ends in time; so do the calls in the parent.
 *
 *     fork-anywhere MODE [unit: sizes are multiples of it] [part] [parts]
 *
 * With `parts`, only each parts-th instruction is tried: run several side by side.
 */
#include "program.h"
#include <limits.h>
#include <sys/time.h>
#include <ucontext.h>

#ifndef __x86_64__
int main(void) { return 77; } /* no such flag: skipped */
#else

enum mode { SELF, OTHER, WAITING };
enum { OLD = 12, FRESH = 24, SEED_OLD = 1, SEED_NEW = 2 };
static enum mode mode;
static size_t unit;
static long part, parts;

/* ── the calls ─────────────────────────────────────────────────────────────── */

static struct {
    char *p;
    size_t size;
} old[OLD]; /* made before the call, which may take one of them */
static char *result;
static size_t result_size;

static void old_make(int i, size_t size) {
    old[i].p = must_malloc(size);
    old[i].size = size;
    fill(old[i].p, size, SEED_OLD);
}

static void take(int i) { old[i].p = NULL; }

static void act_malloc(void) { result = malloc(result_size = 5 * unit); }
static void act_malloc_more(void) { result = malloc(result_size = 900 * unit); }
static void act_calloc(void) { result = calloc(5, result_size = unit); }
static void act_aligned(void) { result = aligned_alloc(64 * unit, result_size = 64 * unit); }
static void act_grow(void) { result = realloc(old[1].p, result_size = 3 * old[1].size); }
static void act_shrink(void) { result = realloc(old[1].p, result_size = old[1].size / 3); }
static void act_free(void) { free(old[1].p); }
static void act_free_last(void) { free(old[OLD - 1].p); }
static void act_trim(void) { malloc_trim(0); }

/* Each call in several states of the heap: blocks of `size` around it, of which those
 * with a bit in `freed` are free. `taken` is the block that the call frees. */
static const struct call {
    const char *name;
    void (*act)(void);
    int taken;
    unsigned size, freed;
} calls[] = {
    {"malloc", act_malloc, -1, 5, 0},
    {"malloc of what was freed", act_malloc, -1, 5, 1 << 4},
    {"malloc of much", act_malloc_more, -1, 5, 0},
    {"calloc", act_calloc, -1, 5, 1 << 4},
    {"aligned_alloc", act_aligned, -1, 5, 0},
    {"realloc that grows", act_grow, 1, 5, 0},
    {"realloc that grows into its neighbour", act_grow, 1, 5, 1 << 2 | 1 << 3 | 1 << 4},
    {"realloc that shrinks", act_shrink, 1, 50, 0},
    {"realloc of much that grows", act_grow, 1, 900, 0},
    {"realloc of much that shrinks", act_shrink, 1, 900, 0},
    {"free", act_free, 1, 5, 0},
    {"free between free neighbours", act_free, 1, 5, 1 << 0 | 1 << 2},
    {"free of the last", act_free_last, OLD - 1, 900, 0xffe & ~(1 << (OLD - 1))},
    {"free of much", act_free, 1, 900, 0},
    {"malloc_trim", act_trim, -1, 50, 0xff0},
};
enum { CALLS = sizeof calls / sizeof *calls };
static const struct call *call;
static volatile long instruction; /* of this call, counted from 0 */

/* ── the child ─────────────────────────────────────────────────────────────── */

static volatile bool is_child; /* set while malloc is interrupted */
static char *fresh[FRESH];
static int fresh_count;

/* Any malloc may run out of its last page here; it must not fail or hang. */
static void child_allocates(int count) {
    while (count-- > 0) {
        fresh[fresh_count] = must_malloc(5 * unit);
        fill(fresh[fresh_count++], 5 * unit, SEED_NEW);
    }
    check(fresh_count <= FRESH, "too many blocks");
}

/* Old blocks that the interrupted call has nothing to do with. */
static void child_uses_old(int i) {
    if (!old[i].p || i == call->taken)
        return;
    check_filled(old[i].p, old[i].size, SEED_OLD);
    check(malloc_usable_size(old[i].p) >= old[i].size, "usable size %zu, asked for %zu",
          malloc_usable_size(old[i].p), old[i].size);
    char *moved = realloc(old[i].p, old[i].size + unit);
    check(moved, "realloc of an old block failed");
    check_moved(moved, old[i].p, old[i].size, SEED_OLD);
    free(moved);
    take(i);
}

static void child_ends(void) {
    if (result) { /* the interrupted call has returned: its block is ours, too */
        fill(result, result_size, SEED_NEW);
        for (int i = 0; i < OLD; i++)
            if (old[i].p && i != call->taken)
                check_filled(old[i].p, old[i].size, SEED_OLD);
    }
    child_allocates(4);
    char *large = must_malloc(900 * unit);
    fill(large, 900 * unit, SEED_NEW);
    if (result)
        check_filled(result, result_size, SEED_NEW);
    for (int i = 0; i < OLD; i++)
        child_uses_old(i);
    check_filled(large, 900 * unit, SEED_NEW);
    free(large);
    for (int i = 0; i < fresh_count; i++) {
        check_filled(fresh[i], 5 * unit, SEED_NEW);
        free(fresh[i]);
    }
    if (result)
        free(result);
    _exit(0);
}

static void child_begins(void) {
    is_child = true;
    result = mode == SELF || mode == WAITING ? result : NULL;
    die_after(60);
    child_allocates(2);
    child_uses_old(8);
}

static void describe(char *text, size_t size) {
    snprintf(text, size, "%s, at instruction %ld", call->name, instruction);
}

/* ── stepping ──────────────────────────────────────────────────────────────── */

enum { TRAP_FLAG = 0x100 };
#define step_on()  __asm__ volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP_FLAG) : "cc", "memory")
#define step_off() __asm__ volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~TRAP_FLAG) : "cc", "memory")

/* An instruction in a loop is tried only the first two times. */
enum { PLACES = 1 << 14, ENOUGH = 20000 }; /* calls that are longer copy bytes */
static struct {
    greg_t at;
    int visits;
} places[PLACES];

static bool worth_trying(greg_t at) {
    size_t i = (size_t)at * 0x9e3779b97f4a7c15 >> 50;
    while (places[i].at && places[i].at != at)
        i = (i + 1) % PLACES;
    places[i].at = at;
    return places[i].visits++ < 2 && instruction % parts == part;
}

static void fork_here(void);

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    int saved = errno;
    if (worth_trying(registers[REG_RIP]))
        fork_here();
    if (is_child || ++instruction == ENOUGH)
        registers[REG_EFL] &= ~TRAP_FLAG;
    errno = saved;
}

/* Makes the call, one instruction at a time. */
static void step_through(void) {
    step_on();
    call->act();
    step_off();
    if (is_child)
        child_ends();
}

/* ── who forks ─────────────────────────────────────────────────────────────── */

/* One byte through a pipe hands over the turn. */
static int to_main[2], to_stepper[2];

static void turn_give(int *to) { check(write(to[1], "", 1) == 1, "the pipe is broken"); }
static bool turn_wait(int *from) {
    char byte;
    ssize_t got;
    while ((got = read(from[0], &byte, 1)) < 0 && errno == EINTR) {
    }
    return got == 1 && byte == 0;
}

static void fork_and_wait(void) {
    char what[128];
    pid_t child = fork();
    if (child == 0) {
        child_begins();
        return;
    }
    describe(what, sizeof what);
    check_child(child, what);
}

static atomic_bool allocating; /* the other thread: do not stop it for longer */

static void fork_here(void) {
    if (mode == SELF) {
        fork_and_wait();
        return;
    }
    if (allocating)
        return;
    allocating = mode == WAITING;
    turn_give(to_main);
    turn_wait(to_stepper);
}

static void *stepper(void *arg) {
    (void)arg;
    sigset_t alarms; /* blocked here: they are for the other thread */
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    step_through();
    check(write(to_main[1], "e", 1) == 1, "the pipe is broken");
    return NULL;
}

/* The stopped thread continues as soon as the fork is done. */
static atomic_bool forked;
static void alarmed(int signal) {
    (void)signal;
    int saved = errno;
    fork_and_wait();
    forked = true;
    if (!is_child)
        turn_give(to_stepper);
    errno = saved;
}

/* Allocates. If the stopped thread holds the lock, this waits until the handler has let
 * that thread continue. */
static void fork_while_waiting(void) {
    struct sigaction on_alarm = {.sa_handler = alarmed};
    sigaction(SIGALRM, &on_alarm, NULL);
    forked = false;
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {.tv_usec = 4000}}, NULL);
    char *mine = must_malloc(5 * unit);
    fill(mine, 5 * unit, SEED_NEW);
    while (!forked)
        usleep(500);
    if (is_child)
        child_ends();
    check_filled(mine, 5 * unit, SEED_NEW);
    free(mine);
    allocating = false;
}

static void try_call(void) {
    if (mode == SELF) {
        step_through();
        return;
    }
    pthread_t thread = start(stepper, NULL);
    while (turn_wait(to_main)) {
        if (mode == WAITING) {
            fork_while_waiting();
            continue;
        }
        fork_and_wait();
        if (is_child)
            child_ends();
        turn_give(to_stepper);
    }
    join(thread);
}

static void try_in_its_own_state(const struct call *c) {
    call = c;
    for (int i = 0; i < OLD; i++)
        old_make(i, c->size * unit);
    for (int i = 0; i < OLD; i++)
        if (c->freed >> i & 1) {
            free(old[i].p);
            take(i);
        }
    result = NULL;
    instruction = 0;
    memset(places, 0, sizeof places);
    try_call();
    if (result)
        fill(result, result_size, SEED_NEW);
    if (c->taken >= 0)
        take(c->taken);
    for (int i = 0; i < OLD; i++) {
        if (old[i].p)
            check_filled(old[i].p, old[i].size, SEED_OLD);
        free(old[i].p);
    }
    free(result);
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "self";
    mode = strcmp(name, "other") == 0 ? OTHER : strcmp(name, "waiting") == 0 ? WAITING : SELF;
    unit = (size_t)argument(argc, argv, 2, 16);
    part = argument(argc, argv, 3, 0);
    parts = argument(argc, argv, 4, 1);
    check(pipe(to_main) == 0 && pipe(to_stepper) == 0, "no pipe");
    struct sigaction on_trap = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &on_trap, NULL);
    for (int i = 0; i < CALLS; i++)
        try_in_its_own_state(&calls[i]);
    return 0;
}
#endif
