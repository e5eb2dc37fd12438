/* Correct code that looks like misuse: blocks that hold copies of freed memory, of canaries
 * and of each other, sizes around every boundary, and writes to the last byte. */
#include <pthread.h>

#include "crime.h"

enum { BLOCKS = 300, THREADS = 4 };

static size_t size_of(unsigned i) { return i % 7 == 0 ? i * 197u : i; }

/* Bytes that look like the guard's canaries. */
static void imitate(char *block, size_t size, int fill) {
    memset(block, fill, size);
    for (size_t i = 0; i + 16 <= size; i += 48)
        for (size_t j = 0; j < 16; j++)
            block[i + j] = (char)(0x80 | ((uintptr_t)(block + i + j) * 37 & 0x3f));
}

static void *live(void *arg) {
    char *blocks[BLOCKS] = {0};
    for (unsigned round = 0; round < 5; round++)
        for (unsigned i = 0; i < BLOCKS; i++) {
            size_t size = size_of(i);
            free(blocks[i]);
            blocks[i] = i % 5 ? malloc(size) : i % 2 ? calloc(1, size) : memalign(64, size);
            if (!blocks[i])
                return arg;
            imitate(blocks[i], size, i % 2 ? 0xdf : 0xc5);
            if (malloc_usable_size(blocks[i]) < size)
                return arg;
            if (i % 3 == 0)
                blocks[i] = realloc(blocks[i], size + round + 1);
        }
    for (unsigned i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return NULL;
}

/* Uses the frame pointer's register for something else, as code without frame pointers may. */
void *malloc_with_rbp(size_t size, uintptr_t rbp);
__asm__(".text\n.globl malloc_with_rbp\nmalloc_with_rbp:\n"
        "    push %rbp\n    mov %rsi, %rbp\n    call malloc@PLT\n    pop %rbp\n    ret\n");

static void without_frames(void) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t values[] = {0,        1,         8,         16,          4096,      -8ul,
                          -16ul,    here,      here - 64, here + 4096, here + 12, 1ul << 47,
                          ~0ul / 2, 1ul << 63, here + (64 << 20)};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        free(malloc_with_rbp(100, values[i]));
}

int main(void) {
    without_frames();
    pthread_t threads[THREADS];
    int failed = 0;
    for (int i = 0; i < THREADS; i++)
        failed |= pthread_create(&threads[i], NULL, live, threads) != 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        failed |= pthread_join(threads[i], &result) != 0 || result;
    }
    return failed;
}
