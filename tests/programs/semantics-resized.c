/* realloc keeps every byte of unusual blocks, too: of some MiB, growing and shrinking, with and
 * without room behind them (`large`), and of blocks with large alignments (`aligned`).
 *
 *     semantics-resized [large|aligned] [largest size]
 */
#include "program.h"

/* Eight bytes at a time, because whole MiB are compared. Does not depend on the address. */
static uint64_t word(size_t i) { return (i + 1) * 0x9e3779b97f4a7c15; }

static void write_from(char *p, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        p[i] = (char)(word(i / 8) >> i % 8 * 8);
}

static void check_to(const char *p, size_t size, size_t from, size_t to) {
    size_t i = 0;
    for (uint64_t found; i + 8 <= size; i += 8) {
        memcpy(&found, p + i, 8);
        check(found == word(i / 8),
              "realloc from %zu to %zu bytes changed byte %zu or one of 7 after it",
              from, to, i);
    }
    for (; i < size; i++)
        check(p[i] == (char)(word(i / 8) >> i % 8 * 8),
              "realloc from %zu to %zu bytes changed byte %zu",
              from, to, i);
}

/* Takes one block through all sizes; every other time another block lies behind it. */
static void resize_through(char *p, size_t size, const size_t *sizes, size_t count) {
    write_from(p, 0, size);
    for (size_t i = 0; i < count; i++) {
        char *behind = i % 2 ? must_malloc(sizes[i] / 16 + 1) : NULL;
        size_t old = size, kept = old < sizes[i] ? old : sizes[i];
        size = sizes[i];
        p = realloc(p, size);
        check(p, "realloc from %zu to %zu bytes failed", old, size);
        check_to(p, kept, old, size);
        write_from(p, kept, size);
        free(behind);
    }
    check_to(p, size, size, size);
    free(p);
}

static void large(size_t most) {
    const size_t sizes[] = {most / 8 + 1, most / 4,     most / 4 + 1, most / 4 - 1, most / 2 + 4097,
                            most / 5,     most / 3 + 7, most,         most - 4096,  most / 2,
                            100,          most / 16,    most / 16 + 1};
    size_t count = sizeof sizes / sizeof *sizes;
    resize_through(must_malloc(most / 16), most / 16, sizes, count);
    char *zeroes = calloc(1, most / 8);
    check(zeroes, "calloc(1, %zu) failed", most / 8);
    resize_through(zeroes, most / 8, sizes, count);
}

static void aligned(size_t most) {
    for (size_t alignment = 32; alignment <= 4 << 20; alignment *= 4)
        for (size_t size = 24; size <= most; size = size * 7 + 5) {
            const size_t sizes[] = {size / 2 + 1, size, size + 1, size * 3, size * 2 + 9,
                                    size / 3 + 1, size * 4};
            void *p;
            check(posix_memalign(&p, alignment, size) == 0, "posix_memalign(%zu, %zu) failed",
                  alignment, size);
            resize_through(p, size, sizes, sizeof sizes / sizeof *sizes);
        }
}

int main(int argc, char **argv) {
    size_t most = (size_t)argument(argc, argv, 2, 16 << 20);
    if (argc > 1 && !strcmp(argv[1], "aligned"))
        aligned(most);
    else
        large(most);
    return 0;
}
