/* Memory from the kernel that fills the gap between two arenas of sharded: a free run may then reach
 * from it into the arena behind, and every block there must still be known. Stands between malloc
 * and the kernel, to say where memory comes from (link with -rdynamic).
 *
 *     sharded-between
 */
#include "program.h"
#include "libmalloc.h"
#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));
extern int libmalloc_walk(int (*)(const struct libmalloc_chunk *, void *), void *)
    __attribute__((weak));

enum { STEP = 4 << 20, SIZE = 200000, BLOCKS = 1000, FREED = 8 };
static char *arena[3]; /* in the order in which they are handed out: first, last, between */
static volatile int given;
static char *block[BLOCKS];

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (size == STEP && given < 3 && arena[0]) {
        at = arena[given++];
        flags |= MAP_FIXED;
    }
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

static int visit(const struct libmalloc_chunk *chunk, void *arg) {
    *(size_t *)arg += chunk->kind == LIBMALLOC_LIVE && chunk->usable >= SIZE;
    return 0;
}

static bool lies_in(const char *p, const char *start) { return p >= start && p < start + STEP; }

int main(void) {
    char *all = mmap(NULL, 4 * STEP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    all = (char *)(((uintptr_t)all + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1));
    arena[2] = all + STEP;
    arena[1] = all + 2 * STEP;
    arena[0] = all;
    size_t count = 0, live = 0, freed = 0;
    while (given < 2 || lies_in(block[count - 1], arena[1]) || lies_in(block[count - 1], arena[0])) {
        if (given == 3)
            break;
        block[count++] = malloc(SIZE);
    }
    check(given == 3, "the arenas were not asked for in this order");
    for (size_t i = 0; i < count && freed < FREED; i++)
        if (lies_in(block[i], arena[1])) {
            free(block[i]);
            freed++;
        }
    for (size_t i = 0; i < count; i++)
        if (lies_in(block[i], arena[2])) {
            free(block[i]);
            freed++;
        }
    malloc_trim(0); /* clean runs, on both sides of the boundary, become one */
    check(libmalloc_check(NULL, NULL) == 0, "the heap is broken");
    check(libmalloc_walk(visit, &live) == 0 && live == count - freed,
          "%zu blocks are known, of %zu", live, count - freed);
    return 0;
}
