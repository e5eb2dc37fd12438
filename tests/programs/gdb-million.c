/* A heap of a million chunks, a third of them free, for the heap commands of GDB to be timed on:
 * `make bench-gdb`.
 *
 *     gdb-million [BLOCKS]          allocates them, frees each third, stops in stop_here()
 *     gdb-million BLOCKS carved     list would take hours to find room for so many: the chunks are
 *                                   carved by hand from a free one, as the malloc would have left them
 *                                   (in a debug build, without records of the guard)
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t blocks = 1000000;
static void **block;

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

static size_t size_of(size_t i) { return 16 + i * 37 % 100; }

static void allocate(void) {
    for (size_t i = 0; i < blocks; i++)
        block[i] = malloc(size_of(i));
    for (size_t i = 0; i < blocks; i += 3)
        free(block[i]);
}

/* As in native/list.c. */
struct chunk {
    struct chunk *next, *prev;
    size_t size, free;
};

static struct chunk *behind(struct chunk *c) {
    return (struct chunk *)((char *)(c + 1) + c->size);
}

/* The header of a block that is not the last: a debug build has more in front of it. */
static struct chunk *header(void *p) {
    struct chunk *c = (struct chunk *)p - 1;
    while (c->free || c->next != behind(c))
        c = (struct chunk *)((char *)c - 16);
    return c;
}

static void carve(void) {
    enum { MOST = 128 };
    void *whole = malloc(blocks * (sizeof(struct chunk) + MOST));
    malloc(1);
    struct chunk *c = header(whole), *end = c->next;
    free(whole); /* no more than the quarantine stays in a debug build, so this leaves at once */
    if (!c->free || c->next != end)
        abort();
    for (size_t i = 0; i < blocks; i++) {
        c->size = (size_of(i) + 15) / 16 * 16;
        c->free = i % 3 == 0;
        c->next = behind(c);
        c->next->prev = c;
        block[i] = c + 1;
        c = c->next;
    }
    *c = (struct chunk){end, c->prev, (size_t)((char *)end - (char *)(c + 1)), false};
    end->prev = c;
}

int main(int argc, char **argv) {
    if (argc > 1)
        blocks = strtoul(argv[1], NULL, 10);
    block = malloc(blocks * sizeof *block);
    if (argc > 2)
        carve();
    else
        allocate();
    stop_here();
    _exit(0);
}
