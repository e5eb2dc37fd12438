// Allocates by each function of the family, each in a function of its own: many blocks that live at once,
// and are then freed. Small ones and such as a sampling profiler would not copy. Exits with 1 if a
// block does not hold what it should.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APART __attribute__((noinline))

enum { BLOCKS = 600 };
static unsigned char *blocks[BLOCKS];

static void require(int holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static size_t size_of(int i) {
    return i % 2 ? 100000 : 10000;
}

static void free_all(void) {
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}

static APART void by_malloc(void) {
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(size_of(i));
    free_all();
}

static APART void by_calloc(void) {
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = size_of(i);
        blocks[i] = calloc(size / 10, 10);
        require(blocks[i][0] == 0 && memcmp(blocks[i], blocks[i] + 1, size - 1) == 0, "not zero");
        memset(blocks[i], 1, size);
    }
    free_all();
}

// From nothing, from a small block that may be a sample itself, and to less.
static APART void by_realloc(void) {
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = size_of(i);
        blocks[i] = realloc(NULL, size / 2);
        memset(blocks[i], i, size / 2);
        blocks[i] = realloc(blocks[i], size);
        require(blocks[i][0] == (unsigned char)i && blocks[i][size / 2 - 1] == (unsigned char)i, "lost");
        memset(blocks[i], i, size);
        blocks[i] = realloc(blocks[i], size - 500);
        require(blocks[i][size - 501] == (unsigned char)i, "lost");
    }
    free_all();
}

static APART void by_alignment(void) {
    for (int i = 0; i < BLOCKS; i++) {
        size_t alignment = i % 3 ? 64 : 8192;
        void *p = NULL;
        require(posix_memalign(&p, alignment, size_of(i)) == 0, "no memory");
        require((uintptr_t)p % alignment == 0, "not aligned");
        blocks[i] = p;
    }
    free_all();
}

int main(void) {
    by_malloc();
    by_calloc();
    by_realloc();
    by_alignment();
    return 0;
}
