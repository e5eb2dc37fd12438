/* The program break does not belong to malloc: a program may move it as well, up and down,
 * by odd numbers, between any two calls. Its bytes and the blocks keep their content, the
 * heap stays sound, and freed memory is reused. Memory from the break need not be zero: a
 * page that it ends in keeps what the program wrote there.
 *
 *     break [steps] [largest size] [seed]
 */
#include "program.h"
#include "libmalloc.h"

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));

enum { LIVE = 100, AREAS = 1000 };
static struct {
    unsigned char *p;
    size_t size;
} blocks[LIVE], areas[AREAS];
static int area_count;

static void report(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

static void check_sound(void) {
    check(!libmalloc_check || libmalloc_check(report, NULL) == 0, "the heap is broken");
}

static void move_up(size_t size) {
    if (area_count == AREAS)
        return;
    unsigned char *p = sbrk((intptr_t)size);
    check(p != (void *)-1, "sbrk: %s", strerror(errno));
    areas[area_count].p = p;
    areas[area_count++].size = size;
    fill(p, size, 1);
}

/* Only the last piece can be given back, and only if the break has not moved since. */
static void move_down(void) {
    if (!area_count || areas[area_count - 1].p + areas[area_count - 1].size != sbrk(0))
        return;
    size_t size = areas[--area_count].size;
    check_filled(areas[area_count].p, size, 1);
    check(sbrk(-(intptr_t)size) != (void *)-1, "sbrk: %s", strerror(errno));
}

static void drop(size_t i) {
    if (blocks[i].p)
        check_filled(blocks[i].p, blocks[i].size, 2);
    free(blocks[i].p);
}

static void step(uint64_t *random, size_t largest) {
    size_t i = chance_below(random, LIVE), size = chance_size(random, largest);
    switch (chance_below(random, 9)) {
    case 0:
        move_up(1 + chance_below(random, 3000));
        return;
    case 1:
    case 2:
        move_down();
        return;
    case 3:
        if (blocks[i].p) {
            uintptr_t origin = (uintptr_t)blocks[i].p;
            unsigned char *p = realloc(blocks[i].p, size + 1);
            check(p, "realloc to %zu bytes failed", size + 1);
            check_moved(p, (void *)origin, size < blocks[i].size ? size : blocks[i].size, 2);
            blocks[i].p = p;
            break;
        } /* fall through */
    case 4:
        drop(i);
        blocks[i].p = lacks("calloc") ? must_malloc(size) : calloc(1, size);
        check(blocks[i].p || size == 0, "calloc(1, %zu) failed", size);
        if (!lacks("calloc"))
            check_zero(blocks[i].p, size);
        break;
    default:
        drop(i);
        blocks[i].p = chance_below(random, 4) ? must_malloc(size) : memalign_if_any(256, size);
        check(blocks[i].p || size == 0, "no block of %zu bytes", size);
    }
    blocks[i].size = size;
    fill(blocks[i].p, size, 2);
}

int main(int argc, char **argv) {
    long steps = argument(argc, argv, 1, 5000);
    size_t largest = (size_t)argument(argc, argv, 2, 100000);
    uint64_t random = (uint64_t)argument(argc, argv, 3, 1);
    for (long i = 0; i < steps; i++) {
        step(&random, largest);
        if (i % 100 == 0)
            check_sound();
    }
    for (int i = 0; i < area_count; i++)
        check_filled(areas[i].p, areas[i].size, 1);
    for (int i = 0; i < LIVE; i++) {
        if (blocks[i].p)
            check_filled(blocks[i].p, blocks[i].size, 2);
        free(blocks[i].p);
    }
    check_sound();
    return 0;
}
