/* malloc_trim in a heap whose pages are full, half full and empty: afterwards each free block is
 * handed out again, and only once.
 *
 *     structure-trim
 *
 * The names are those of mallocs that keep equal blocks in pages of 64 KiB (sharded): there, trim
 * gives back the current page, while another one has both freed and fresh blocks.
 */
#include "program.h"
#include <malloc.h>

enum { PAGE = 65536, MOST = PAGE / 64, BEGUN = 64, ROUNDS = 4 * MOST };

static void *half[MOST], *empty[MOST], *begun[BEGUN], *taken[ROUNDS];

static bool together(const void *a, const void *b) {
    return (uintptr_t)a / PAGE == (uintptr_t)b / PAGE;
}

/* Fills blocks until one lies in another page, and returns that one. */
static void *page_of(void **blocks, size_t *count, void *first, size_t size) {
    void *p = first;
    for (*count = 0; *count < MOST && together(p, first); p = must_malloc(size))
        blocks[(*count)++] = p;
    return p;
}

static void drop(void **blocks, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        free(blocks[i]);
}

static void trim_with(size_t size) {
    size_t halves, empties, in_begun = 0;
    begun[0] = page_of(empty, &empties, page_of(half, &halves, must_malloc(size), size), size);
    for (size_t i = 1; i < BEGUN; i++)
        begun[i] = must_malloc(size);
    drop(empty, 0, empties / 4);
    free(must_malloc(size)); /* makes the page of these blocks the current one */
    drop(begun, 0, BEGUN / 4);
    drop(empty, empties / 4, empties);
    malloc_trim(0);
    void *smaller = must_malloc(size * 5 / 8);
    drop(half, 0, halves / 4);
    void *p = NULL;
    while (in_begun < ROUNDS && together(p = must_malloc(size), begun[BEGUN - 1]))
        taken[in_begun++] = p;
    drop(taken, 0, in_begun);
    drop(begun, BEGUN / 4, BEGUN);
    for (size_t i = 0; i < ROUNDS; i++)
        fill(taken[i] = must_malloc(size), size, i);
    for (size_t i = 0; i < ROUNDS; i++)
        check_filled(taken[i], size, i);
    drop(taken, 0, ROUNDS);
    drop(half, halves / 4, halves);
    free(smaller);
    free(p);
}

int main(void) {
    for (size_t size = 64; size <= 1024; size *= 2)
        trim_with(size);
    return 0;
}
