/* 0 is a valid size: malloc(0) and calloc(0, n) return NULL or a block of its own that can
 * be freed and resized, free(NULL) does nothing, and realloc(NULL, n) is malloc(n). With
 * `strict` the first two are never NULL, and realloc(p, 0) frees, as in glibc: programs
 * that were tested only there rely on both.
 *
 *     semantics-zero [strict: 0 or 1]
 */
#include "program.h"

enum { MANY = 100 };

int main(int argc, char **argv) {
    bool strict = argument(argc, argv, 1, 0);
    void *blocks[4 * MANY];
    int count = 0;
    for (int i = 0; i < MANY; i++) {
        blocks[count++] = malloc(0);
        blocks[count++] = calloc(0, 8);
        blocks[count++] = calloc(8, 0);
        blocks[count++] = realloc(NULL, 0);
    }
    for (int i = 0; i < count; i++) {
        check(!strict || blocks[i], "a block of 0 bytes is NULL");
        for (int j = 0; j < i; j++)
            check(!blocks[i] || blocks[i] != blocks[j], "two blocks of 0 bytes are one: %p",
                  blocks[i]);
    }
    for (int i = 0; i < count; i += 2) {
        blocks[i] = realloc(blocks[i], 100);
        check(blocks[i], "realloc of a block of 0 bytes failed");
        fill(blocks[i], 100, 1);
    }
    for (int i = 0; i < count; i += 2)
        check_filled(blocks[i], 100, 1);
    for (int i = 0; i < count; i++)
        free(blocks[i]);
    free(NULL);
    check(!given.usable || malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL) is not 0");
    for (int i = 0; strict && i < 100000; i++)
        check(!realloc(must_malloc(20000), 0), "realloc(p, 0) is not NULL");
    check(!strict || resident_kib() < 500000, "realloc(p, 0) does not free");
    return 0;
}
