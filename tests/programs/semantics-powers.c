/* A block of exactly a power of two bytes, of one byte less or of one more, is usable to its
 * last byte, whichever function made it, and overlaps no other. Of large blocks only the ends are written.
 *
 *     semantics-powers [largest power of two]
 */
#include "program.h"

enum { EDGE = 64, MAKERS = 4, OFFSETS = 3, MOST = MAKERS * OFFSETS };
static const char *const makers[] = {"malloc", "calloc", "realloc", "memalign"};
static struct {
    char *p;
    size_t size;
    const char *maker;
} blocks[MOST];

static void *make(int maker, size_t size) {
    void *half;
    switch (maker) {
    case 1:
        return calloc(1, size);
    case 2:
        if (lacks("realloc"))
            return malloc(size);
        half = malloc(size / 2 + 1);
        return half ? realloc(half, size) : NULL;
    case 3:
        return memalign_if_any(32, size);
    default:
        return malloc(size);
    }
}

static size_t edge_of(size_t size) { return size < EDGE ? size : EDGE; }

static void write_edges(size_t n) {
    size_t size = blocks[n].size, edge = edge_of(size);
    if (blocks[n].maker == makers[1] && !lacks("calloc")) {
        check_zero(blocks[n].p, edge);
        check_zero(blocks[n].p + size - edge, edge);
    }
    memset(blocks[n].p, (int)n + 1, edge);
    memset(blocks[n].p + size - edge, (int)n + 1, edge);
}

static void check_edges(size_t n) {
    size_t size = blocks[n].size, edge = edge_of(size);
    for (size_t i = 0; i < 2 * edge; i++) {
        size_t at = i < edge ? i : size - 2 * edge + i;
        check(blocks[n].p[at] == (char)(n + 1), "byte %zu of %zu (%s) was changed", at, size,
              blocks[n].maker);
    }
}

static void check_apart(size_t n) {
    for (size_t other = 0; other < n; other++)
        check(blocks[n].p + blocks[n].size <= blocks[other].p ||
                  blocks[other].p + blocks[other].size <= blocks[n].p,
              "%zu bytes at %p (%s) and %zu at %p (%s) overlap", blocks[n].size,
              (void *)blocks[n].p, blocks[n].maker, blocks[other].size, (void *)blocks[other].p,
              blocks[other].maker);
}

static void around(size_t power) {
    size_t count = 0;
    for (int maker = 0; maker < MAKERS; maker++)
        for (size_t size = power - 1; size <= power + 1; size++) {
            char *p = make(maker, size);
            if (size == 0) {
                free(p);
                continue;
            }
            check(p, "%s of %zu bytes failed", makers[maker], size);
            blocks[count].p = p;
            blocks[count].size = size;
            blocks[count].maker = makers[maker];
            check_apart(count);
            write_edges(count++);
        }
    for (size_t n = 0; n < count; n++)
        check_edges(n);
    for (size_t n = 0; n < count; n++)
        free(blocks[n].p);
}

int main(int argc, char **argv) {
    size_t largest = (size_t)argument(argc, argv, 1, 64 << 20);
    for (size_t power = 1; power <= largest; power *= 2)
        around(power);
    return 0;
}
