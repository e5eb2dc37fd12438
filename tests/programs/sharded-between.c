/* Memory from the kernel that fills the gap between two arenas of sharded: a free run may then reach
 * from it into the arena behind, and every block there must still be known. Its mmap replaces libc's
 * (link with -rdynamic): it maps just enough for one block, at the places of this test.
 *
 *     sharded-between
 */
#include "program.h"
#include "libmalloc.h"
#include <sys/mman.h>
#include <sys/syscall.h>

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));
extern int libmalloc_walk(int (*)(const struct libmalloc_chunk *, void *), void *)
    __attribute__((weak));

enum { SIZE = 200000, RUN = 4 << 16, AHEAD = 4 << 20, BLOCKS = 100 };
static const int order[] = {0, 2, 3, 1}; /* places of RUN bytes, side by side */
enum { PLACES = sizeof order / sizeof *order };
static char *places, *block[BLOCKS];
static volatile int placed;

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (places && size >= AHEAD) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (places && size == RUN && placed < PLACES) {
        at = places + (size_t)RUN * (size_t)order[placed++];
        flags |= MAP_FIXED;
    }
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

static int visit(const struct libmalloc_chunk *chunk, void *arg) {
    *(size_t *)arg += chunk->kind == LIBMALLOC_LIVE && chunk->usable >= SIZE;
    return 0;
}

int main(void) {
    char *all = mmap(NULL, (PLACES + 1) * RUN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t count = 0, freed = 0, live = 0;
    places = (char *)(((uintptr_t)all + RUN - 1) & ~(uintptr_t)(RUN - 1));
    while (placed < PLACES && count < BLOCKS)
        check((block[count++] = malloc(SIZE)), "no memory");
    check(placed == PLACES, "memory was not asked for block by block");
    for (size_t i = 0; i < count; i++)
        if (block[i] >= places + RUN && block[i] < places + 3 * RUN) {
            free(block[i]);
            freed++;
        }
    check(freed == 2, "%zu blocks on both sides of the boundary", freed);
    check(libmalloc_check(NULL, NULL) == 0, "the heap is broken");
    check(libmalloc_walk(visit, &live) == 0 && live == count - freed, "%zu blocks are known, of %zu",
          live, count - freed);
    return 0;
}
