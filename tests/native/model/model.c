/* model.c: a model checker for C11 atomics, in the place of the thread sanitizer's runtime.
 *
 * A scenario is compiled with -fsanitize=thread, so the compiler turns each access to memory into a
 * call; but it is linked with this file instead of libtsan. Threads are coroutines, so the checker
 * decides at each atomic operation which thread goes on, and for each load which of the stores it
 * returns: not only the last one, but any that the thread has not seen overwritten. It tries all
 * decisions, depth first, up to a number of deviations from the run without any switch.
 *
 *      place (an atomic variable):   store 0 ── store 1 ── store 2      in the order of the run
 *                                               │ value
 *                                               └ view, if the store is a release: what its thread
 *                                                 had seen. An acquiring load joins it to its own.
 *
 * A view has a clock for each thread, and for each place the newest store that was seen. Two plain
 * accesses to a byte, one of them a write, need an order between them by clocks: otherwise that is a
 * race, and a fault. So an acquire or release that is too weak shows as a race, or as a wrong value.
 *
 * Not modelled: stores that a load reads before they are made (no processor's compiler does that to
 * us), and spurious failures of weak exchanges. An address dependency orders nothing here.
 */
#include "model.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum {
    THREADS = 4, /* the last one sets up, and sees everything */
    MAIN = THREADS - 1,
    PLACES = 48,
    STORES = 96,
    CELLS = 1 << 16,
    CHOICES = 4096,
    UNDO = 1 << 16,
    IGNORED = 8,
    SITES = 128,
    STACK = 128 << 10,
};

struct view {
    uint32_t clock[THREADS];
    uint16_t seen[PLACES];
};
struct place {
    uintptr_t at;
    int count;
    struct {
        uint64_t value;
        struct view view;
    } store[STORES];
};
enum access { PLAIN_READ, PLAIN_WRITE, ATOMIC_READ, ATOMIC_WRITE, ACCESSES };
struct cell { /* a byte: the clock of each thread's last access */
    uintptr_t at;
    long run;
    uint32_t last[ACCESSES][THREADS];
};

static struct {
    ucontext_t context;
    struct view view, pending; /* what it saw; what an acquire fence would add */
    pthread_mutex_t *waits;
    bool done;
} thread[THREADS];
static struct place places[PLACES];
static struct view locked[PLACES]; /* what the last holder of a mutex had seen */
static struct cell cells[CELLS];
static struct { int taken, options; } choice[CHOICES];
static struct { void *at; uint64_t old; uint8_t size; } undo[UNDO];
static struct { uintptr_t start, end; } ignored[IGNORED];
static struct site { /* an atomic operation in the code */
    void *code;
    const char *what;
    int order;
} sites[SITES], weak = {.what = ""};
static bool weak_acquire;
static int site_count;
static char stacks[THREADS][STACK];
static int me = MAIN, threads, place_count, known, depth, left, undo_count, ignored_count;
static long runs;
static bool running;
static void (*thread_body)(int);

void model_fault(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "run %ld, thread %d: ", runs, me);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    _Exit(1);
}

void model_ignore(const void *start, size_t size) {
    ignored[ignored_count].start = (uintptr_t)start;
    ignored[ignored_count++].end = (uintptr_t)start + size;
}

/* ── decisions ─────────────────────────────────────────────────────────────── */

static int choose(int options) {
    if (options <= 1)
        return 0;
    if (depth == CHOICES)
        model_fault("a run has too many decisions");
    if (depth == known) {
        choice[known].taken = 0;
        choice[known++].options = options;
    }
    if (choice[depth].options != options)
        model_fault("the scenario does not repeat itself");
    return choice[depth++].taken;
}

/* Each decision other than the first option is a deviation. */
static int deviate(int options) {
    int taken = choose(left > 0 ? options : 1);
    left -= taken > 0;
    return taken;
}

static bool next_run(void) {
    while (known && choice[known - 1].taken + 1 == choice[known - 1].options)
        known--;
    if (known)
        choice[known - 1].taken++;
    depth = 0;
    return known > 0;
}

/* ── threads ───────────────────────────────────────────────────────────────── */

static void switch_to(int to) {
    int from = me;
    scenario_switch(from, to);
    me = to;
    swapcontext(&thread[from].context, &thread[to].context);
}

/* The threads that can go on, without this one. */
static int others(int *list) {
    int count = 0;
    for (int t = 0; t < threads; t++)
        if (t != me && !thread[t].done && !thread[t].waits)
            list[count++] = t;
    return count;
}

/* Before each atomic operation. */
static void point(void) {
    int list[THREADS];
    if (me == MAIN)
        return;
    int pick = deviate(1 + others(list));
    if (pick)
        switch_to(list[pick - 1]);
}

static void go_elsewhere(void) {
    int list[THREADS], count = others(list);
    if (count)
        switch_to(list[choose(count)]);
    for (int t = 0; !count && t < threads; t++)
        if (!thread[t].done)
            model_fault("all threads wait");
    if (!count)
        switch_to(MAIN);
}

static void begin(void) {
    thread_body(me);
    thread[me].done = true;
    go_elsewhere();
}

static void join(struct view *to, const struct view *from) {
    for (int t = 0; t < THREADS; t++)
        if (to->clock[t] < from->clock[t])
            to->clock[t] = from->clock[t];
    for (int p = 0; p < PLACES; p++)
        if (to->seen[p] < from->seen[p])
            to->seen[p] = from->seen[p];
}

/* ── memory ────────────────────────────────────────────────────────────────── */

static uint64_t word(const void *at, size_t size) {
    uint64_t value = 0;
    memcpy(&value, at, size);
    return value;
}

static void remember(void *at, size_t size) {
    for (size_t done = 0; running && done < size; done += 8) {
        size_t part = size - done < 8 ? size - done : 8;
        if (undo_count == UNDO)
            model_fault("a run writes too much");
        undo[undo_count].at = (char *)at + done;
        undo[undo_count].size = (uint8_t)part;
        undo[undo_count++].old = word((char *)at + done, part);
    }
}

static struct cell *cell_of(uintptr_t at) {
    for (size_t i = at * 0x9e3779b97f4a7c15u >> 48;; i++) {
        struct cell *c = &cells[i % CELLS];
        if (c->run != runs)
            *c = (struct cell){.at = at, .run = runs};
        if (c->at == at)
            return c;
    }
}

/* Which accesses of other threads need an order with this one. */
static const bool conflicts[ACCESSES][ACCESSES] = {
    [PLAIN_READ] = {[PLAIN_WRITE] = true, [ATOMIC_WRITE] = true},
    [PLAIN_WRITE] = {true, true, true, true},
    [ATOMIC_READ] = {[PLAIN_WRITE] = true},
    [ATOMIC_WRITE] = {[PLAIN_READ] = true, [PLAIN_WRITE] = true},
};

static void look(void *at, size_t size, enum access how, void *code) {
    uintptr_t start = (uintptr_t)at;
    if (!running || me == MAIN)
        return;
    for (int i = 0; i < ignored_count; i++)
        if (start >= ignored[i].start && start < ignored[i].end)
            return;
    for (uintptr_t byte = start; byte < start + size; byte++) {
        struct cell *c = cell_of(byte);
        for (int other = 0; other < ACCESSES; other++)
            for (int t = 0; conflicts[how][other] && t < threads; t++)
                if (t != me && c->last[other][t] > thread[me].view.clock[t])
                    model_fault("a race with thread %d at %p, code %p", t, at, code);
        c->last[how][me] = thread[me].view.clock[me];
    }
}

static struct place *place_of(void *at, size_t size) {
    for (int i = 0; i < place_count; i++)
        if (places[i].at == (uintptr_t)at)
            return &places[i];
    if (place_count == PLACES)
        model_fault("too many atomic variables");
    struct place *p = &places[place_count++];
    memset(&p->store[0], 0, sizeof p->store[0]);
    p->at = (uintptr_t)at;
    p->count = 1;
    p->store[0].value = word(at, size);
    return p;
}

static bool acquires(int order) { return order != __ATOMIC_RELAXED && order != __ATOMIC_RELEASE; }
static bool releases(int order) { return order >= __ATOMIC_RELEASE; }

static void site_print(const struct site *s) {
    printf("%p %s%s%s%s\n", s->code, s->what, acquires(s->order) ? " acquire" : "",
           releases(s->order) ? " release" : "", s->order == __ATOMIC_RELAXED ? " relaxed" : "");
}

void model_print(void) {
    for (int i = 0; i < site_count; i++)
        site_print(&sites[i]);
}

void model_weaken(const char *code, const char *what, const char *drop) {
    weak = (struct site){.code = (void *)strtoul(code, NULL, 16), .what = what};
    weak_acquire = drop[0] == 'a';
}

/* The order of an operation, weaker if it is the one that model_weaken named. */
static int order_at(void *code, const char *what, int order) {
    int i = 0;
    while (i < site_count && (sites[i].code != code || strcmp(sites[i].what, what) != 0))
        i++;
    if (i == SITES)
        model_fault("too many atomic operations in the code");
    if (i == site_count)
        sites[site_count++] = (struct site){code, what, order};
    if (code != weak.code || strcmp(what, weak.what) != 0)
        return order;
    bool other = weak_acquire ? releases(order) : acquires(order);
    return !other ? __ATOMIC_RELAXED : weak_acquire ? __ATOMIC_RELEASE : __ATOMIC_ACQUIRE;
}

static uint64_t returned(struct place *p, int i, int order) {
    struct view *view = &thread[me].view;
    if (view->seen[p - places] < i)
        view->seen[p - places] = (uint16_t)i;
    join(acquires(order) ? view : &thread[me].pending, &p->store[i].view);
    return p->store[i].value;
}

/* Appends a store. One that modifies a store passes on what that one released. */
static void append(struct place *p, uint64_t value, int order, bool modifies, void *at, size_t size) {
    int i = p->count++;
    struct view *view = &thread[me].view;
    if (i == STORES)
        model_fault("too many stores to an atomic variable");
    view->seen[p - places] = (uint16_t)i;
    p->store[i].value = value;
    p->store[i].view = releases(order) ? *view : (struct view){0};
    p->store[i].view.seen[p - places] = (uint16_t)i;
    if (modifies)
        join(&p->store[i].view, &p->store[i - 1].view);
    view->clock[me]++;
    remember(at, size);
    memcpy(at, &value, size);
}

static uint64_t load(void *at, size_t size, int order, void *code) {
    if (!running || me == MAIN)
        return word(at, size);
    point();
    look(at, size, ATOMIC_READ, code);
    struct place *p = place_of(at, size);
    int newest = p->count - 1;
    return returned(p, newest - deviate(newest - thread[me].view.seen[p - places] + 1),
                    order_at(code, "load", order));
}

static void store(void *at, size_t size, uint64_t value, int order, void *code) {
    if (!running || me == MAIN) {
        remember(at, size);
        memcpy(at, &value, size);
        return;
    }
    point();
    look(at, size, ATOMIC_WRITE, code);
    append(place_of(at, size), value, order_at(code, "store", order), false, at, size);
}

/* A read-modify-write. It reads the last store. */
static uint64_t modify(void *at, size_t size, char how, uint64_t with, int order, void *code) {
    if (me != MAIN)
        point();
    bool modelled = running && me != MAIN;
    look(at, size, ATOMIC_WRITE, code);
    struct place *p = modelled ? place_of(at, size) : NULL;
    order = modelled ? order_at(code, "modify", order) : order;
    uint64_t old = modelled ? returned(p, p->count - 1, order) : word(at, size);
    uint64_t value = how == '+' ? old + with
                     : how == '-' ? old - with
                     : how == '|' ? old | with
                     : how == '&' ? old & with
                                  : with;
    if (modelled) {
        append(p, value, order, true, at, size);
    } else {
        remember(at, size);
        memcpy(at, &value, size);
    }
    return old;
}

static int exchange(void *at, size_t size, void *expected, uint64_t desired, int order, int failed,
                    void *code) {
    if (me != MAIN)
        point();
    bool modelled = running && me != MAIN;
    struct place *p = modelled ? place_of(at, size) : NULL;
    bool equal = word(at, size) == word(expected, size);
    look(at, size, equal ? ATOMIC_WRITE : ATOMIC_READ, code);
    if (modelled)
        order = equal ? order_at(code, "exchange", order) : order_at(code, "failure", failed);
    uint64_t old = modelled ? returned(p, p->count - 1, order) : word(at, size);
    remember(equal ? at : expected, size);
    if (!equal)
        memcpy(expected, &old, size);
    else if (modelled)
        append(p, desired, order, true, at, size);
    else
        memcpy(at, &desired, size);
    return equal;
}

void *model_copy(void *to, const void *from, size_t size) {
    look((void *)(uintptr_t)from, size, PLAIN_READ, __builtin_return_address(0));
    look(to, size, PLAIN_WRITE, __builtin_return_address(0));
    remember(to, size);
    return memcpy(to, from, size);
}

void *model_fill(void *at, int byte, size_t size) {
    look(at, size, PLAIN_WRITE, __builtin_return_address(0));
    remember(at, size);
    return memset(at, byte, size);
}

/* ── locks ─────────────────────────────────────────────────────────────────── */

/* A mutex is a place, too: 0 or 1. */
int model_trylock(pthread_mutex_t *mutex) {
    if (!running || me == MAIN)
        return (pthread_mutex_trylock)(mutex);
    point();
    int error = (pthread_mutex_trylock)(mutex);
    if (!error)
        join(&thread[me].view, &locked[place_of(mutex, 4) - places]);
    return error;
}

int model_lock(pthread_mutex_t *mutex) {
    if (!running || me == MAIN)
        return (pthread_mutex_lock)(mutex);
    while (model_trylock(mutex)) {
        thread[me].waits = mutex;
        go_elsewhere();
    }
    return 0;
}

int model_unlock(pthread_mutex_t *mutex) {
    if (running && me != MAIN) {
        locked[place_of(mutex, 4) - places] = thread[me].view;
        thread[me].view.clock[me]++;
        for (int t = 0; t < threads; t++)
            if (thread[t].waits == mutex)
                thread[t].waits = NULL;
    }
    return (pthread_mutex_unlock)(mutex);
}

/* ── runs ──────────────────────────────────────────────────────────────────── */

static void threads_start(void) {
    for (int t = 0; t < threads; t++) {
        memset(&thread[t], 0, sizeof thread[t]);
        thread[t].view.clock[t] = 1;
        getcontext(&thread[t].context);
        thread[t].context.uc_stack.ss_sp = stacks[t];
        thread[t].context.uc_stack.ss_size = STACK;
        makecontext(&thread[t].context, begin, 0);
    }
}

long model_run(int count, void (*body)(int thread), void (*end)(void), int deviations) {
    threads = count;
    thread_body = body;
    runs = 0;
    known = depth = 0;
    do {
        runs++;
        left = deviations;
        place_count = undo_count = 0;
        memset(locked, 0, sizeof locked);
        threads_start();
        running = true;
        switch_to(choose(threads));
        end();
        running = false;
        while (undo_count-- > 0)
            memcpy(undo[undo_count].at, &undo[undo_count].old, undo[undo_count].size);
    } while (next_run());
    return runs;
}

/* ── what the compiler calls ───────────────────────────────────────────────── */

#define CODE __builtin_return_address(0)
#define ACCESS(name, size)                                                                         \
    void __tsan_##name##read##size(void *at);                                                      \
    void __tsan_##name##read##size(void *at) { look(at, size, PLAIN_READ, CODE); }                 \
    void __tsan_##name##write##size(void *at);                                                     \
    void __tsan_##name##write##size(void *at) {                                                    \
        look(at, size, PLAIN_WRITE, CODE);                                                         \
        remember(at, size);                                                                        \
    }
ACCESS(, 1)
ACCESS(, 2)
ACCESS(, 4)
ACCESS(, 8)
ACCESS(, 16)
ACCESS(unaligned_, 2)
ACCESS(unaligned_, 4)
ACCESS(unaligned_, 8)
ACCESS(unaligned_, 16)
void __tsan_read_range(void *at, size_t size);
void __tsan_read_range(void *at, size_t size) { look(at, size, PLAIN_READ, CODE); }
void __tsan_write_range(void *at, size_t size);
void __tsan_write_range(void *at, size_t size) {
    look(at, size, PLAIN_WRITE, CODE);
    remember(at, size);
}

#define MODIFY(bits, type, name, how)                                                              \
    type __tsan_atomic##bits##_##name(type *at, type with, int order);                             \
    type __tsan_atomic##bits##_##name(type *at, type with, int order) {                            \
        return (type)modify(at, sizeof(type), how, with, order, CODE);                             \
    }
#define EXCHANGE(bits, type, name)                                                                 \
    int __tsan_atomic##bits##_compare_exchange_##name(type *at, type *expected, type desired,      \
                                                      int order, int failed);                      \
    int __tsan_atomic##bits##_compare_exchange_##name(type *at, type *expected, type desired,      \
                                                      int order, int failed) {                     \
        return exchange(at, sizeof(type), expected, desired, order, failed, CODE);                 \
    }
#define ATOMIC(bits, type)                                                                         \
    type __tsan_atomic##bits##_load(type *at, int order);                                          \
    type __tsan_atomic##bits##_load(type *at, int order) {                                         \
        return (type)load(at, sizeof(type), order, CODE);                                          \
    }                                                                                              \
    void __tsan_atomic##bits##_store(type *at, type value, int order);                             \
    void __tsan_atomic##bits##_store(type *at, type value, int order) {                            \
        store(at, sizeof(type), value, order, CODE);                                               \
    }                                                                                              \
    MODIFY(bits, type, exchange, '=')                                                              \
    MODIFY(bits, type, fetch_add, '+')                                                             \
    MODIFY(bits, type, fetch_sub, '-')                                                             \
    MODIFY(bits, type, fetch_or, '|')                                                              \
    MODIFY(bits, type, fetch_and, '&')                                                             \
    EXCHANGE(bits, type, strong)                                                                   \
    EXCHANGE(bits, type, weak)
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void __tsan_init(void);
void __tsan_init(void) {}
void __tsan_func_entry(void *code);
void __tsan_func_entry(void *code) { (void)code; }
void __tsan_func_exit(void);
void __tsan_func_exit(void) {}
void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order) { (void)order; }
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order) {
    if (acquires(order))
        join(&thread[me].view, &thread[me].pending);
    if (releases(order) && running && me != MAIN)
        model_fault("release fences are not modelled");
}
