/* A heap of a million chunks, a third of them free, to time the heap commands of GDB on:
 *
 *     cc -g -O1 -fno-builtin -o million tests/programs/gdb-million.c
 *     libmalloc gdb -m M --batch --break stop_here -x tests/programs/gdb-million.gdb -- ./million
 */
#include <stdlib.h>

enum { BLOCKS = 1000000 };

static void **block;

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

int main(void) {
    block = malloc(BLOCKS * sizeof *block);
    for (size_t i = 0; i < BLOCKS; i++)
        block[i] = malloc(16 + i * 37 % 100);
    for (size_t i = 0; i < BLOCKS; i += 3) {
        free(block[i]);
        block[i] = NULL;
    }
    stop_here();
    return 0;
}
