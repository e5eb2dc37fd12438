/* The program locks a few KiB inside of its blocks and frees them locked. The kernel then purges the
 * memory before the locked part and refuses the rest; blocks in both can be handed out again.
 *
 *     life-locked-piece [bytes of a block] [blocks]
 */
#include "life.h"
#include <sys/mman.h>

enum { PAGE = 64 << 10, PIECE = 4096 };

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, 256);
    long count = argument(argc, argv, 2, 20000);
    char **blocks = table((size_t)count, sizeof *blocks);
    build(blocks, count, size);
    char *page = (char *)((uintptr_t)blocks[count / 2] & ~(uintptr_t)(PAGE - 1));
    check(mlock(page + PAGE / 2, PIECE) == 0, "mlock of 4 KiB: %s", strerror(errno));
    for (long i = 0; i < count; i++)
        if (blocks[i] < page || blocks[i] >= page + PIECE) /* some blocks of that page stay live */
            free(blocks[i]);
    malloc_trim(0);
    for (long i = 0; i < 2 * count; i++)
        fill(must_malloc(size), size, 2);
    return 0;
}
