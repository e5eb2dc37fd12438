/* A heap with something to be found in it, for GDB.
 *
 *     gdb-search          stops in stop_here(); allocates and frees one block each; stops again; writes
 *                         to where list has a header, then frees the block; prints places, status 3
 *     gdb-search oom      asks for more memory than there is, status 3
 *     gdb-search loop     allocates i × 100 bytes for i = 0 … 99, status 3
 *     gdb-search wait     prints a line, waits for one, status 3
 *     gdb-search fork     stops in the child, status 3
 *     gdb-search grow     stops, reallocates one block, status 3
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct block {
    struct block *next;
    uint64_t mark;
    struct block *inside; /* points into the middle of another */
    char text[72];
};

static struct block *volatile global, *volatile inner, *volatile fresh, *volatile gone;
static volatile uintptr_t hidden[2]; /* lost and dragged, in disguise */
static volatile uint64_t marked = 0x1badcafe;
static volatile int parent;

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

static __attribute__((noinline)) struct block *make(uint64_t mark) {
    struct block *b = calloc(1, sizeof *b);
    b->mark = mark;
    return b;
}

static __attribute__((noinline)) void fill(void) {
    gone = make(1);
    global = make(2);
    inner = make(marked);
    strcpy(global->text, "a needle in a block");
    global->inside = (struct block *)((char *)inner + 40);
    struct block *lost = make(3);
    lost->next = make(4);
    hidden[0] = ~(uintptr_t)lost;
    hidden[1] = ~(uintptr_t)lost->next;
}

/* Clears the stack, where old pointers to lost blocks may be left. */
static __attribute__((noinline)) void stack_clear(void) {
    char old[4096];
    memset(old, 0, sizeof old);
    __asm__ volatile("" ::"r"(old) : "memory");
}

static int loop(void) {
    for (int i = 0; i < 100; i++)
        free(malloc(100 * (size_t)i));
    return 3;
}

static int wait_for_line(void) {
    char line[16];
    fill();
    if (write(1, "ready\n", 6) != 6 || read(0, line, sizeof line) < 0)
        return 1;
    return 3;
}

static int fork_once(void) {
    parent = getpid();
    fill();
    if (fork() == 0) {
        stop_here();
        _exit(3);
    }
    wait(NULL);
    return 3;
}

static int grow(void) {
    fill();
    stop_here();
    inner = realloc(inner, 100);
    global = realloc(global, 100000);
    return 3;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "oom"))
        return malloc((size_t)1 << 60) ? 1 : 3;
    if (!strcmp(mode, "loop"))
        return loop();
    if (!strcmp(mode, "wait"))
        return wait_for_line();
    if (!strcmp(mode, "fork"))
        return fork_once();
    if (!strcmp(mode, "grow"))
        return grow();
    fill();
    struct block *volatile held = make(5);
    stack_clear();
    stop_here();
    struct block *old = global;
    fresh = malloc(3000);
    free(gone);
    stop_here();
    ((volatile char *)old)[-32]++; /* list's header begins here; the others do not mind */
    ((volatile char *)old)[-32]--;
    free(old);
    printf("global %p\ninner %p\nheld %p\nfresh %p\ngone %p\nlost %#zx\ndragged %#zx\n", (void *)old,
           (void *)inner, (void *)held, (void *)fresh, (void *)gone, ~hidden[0], ~hidden[1]);
    return 3;
}
