/* exhaust [noreuse]: takes all memory below an address-space limit, checks that the
 * end is NULL with ENOMEM in every call, and that the heap still works afterwards. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BLOCK = 48 * 1024, ROOM = 96 << 20, MOST = 100000 };
static char *blocks[MOST];

static void require(int holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "exhaust: %s\n", what);
    exit(1);
}

static size_t address_space(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    require(f && fscanf(f, "%lu", &pages) == 1, "no /proc/self/statm");
    fclose(f);
    return pages * 4096;
}

static int fill(char *p, size_t size, int value) {
    for (size_t i = 0; i < size; i += 512)
        p[i] = (char)value;
    return value;
}

static int holds(const char *p, size_t size, int value) {
    for (size_t i = 0; i < size; i += 512)
        if (p[i] != (char)value)
            return 0;
    return 1;
}

/* Allocates until the end; the number of blocks in the array from then on. */
static int take(int count, size_t size) {
    for (; count < MOST; count++) {
        errno = 0;
        if (!(blocks[count] = malloc(size)))
            break;
        fill(blocks[count], size, count);
    }
    require(errno == ENOMEM, "malloc at the end of memory: errno is not ENOMEM");
    return count;
}

static void refusals(void) {
    void *p = NULL;
    errno = 0;
    require(!calloc(1, ROOM) && errno == ENOMEM, "calloc: not NULL with ENOMEM");
    errno = 0;
    require(!realloc(NULL, ROOM) && errno == ENOMEM, "realloc(NULL): not NULL with ENOMEM");
    errno = 0;
    require(!realloc(blocks[0], ROOM) && errno == ENOMEM, "realloc: not NULL with ENOMEM");
    errno = 0;
    require(!memalign(4096, ROOM) && errno == ENOMEM, "memalign: not NULL with ENOMEM");
    errno = 5;
    require(posix_memalign(&p, 4096, ROOM) == ENOMEM, "posix_memalign: not ENOMEM");
    require(!p && errno == 5, "posix_memalign: changed errno or its result");
    require(holds(blocks[0], BLOCK, 0), "a refused realloc touched the block");
}

int main(int argc, char **argv) {
    (void)argv;
    size_t limit = address_space() + ROOM;
    setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit});
    int count = take(0, BLOCK);
    require(count > ROOM / BLOCK / 4, "memory ended long before the limit");
    refusals();
    int first = count;
    if (argc == 1) { /* half of it back: as much again must fit */
        int kept = 0;
        for (int i = 0; i < count; i++) {
            require(holds(blocks[i], BLOCK, i), "a block changed");
            if (i % 2)
                free(blocks[i]);
            else
                kept++;
        }
        int again = 0;
        while (again < count && malloc(BLOCK))
            again++;
        require(again >= (count - kept) * 9 / 10, "freed memory was not to be had again");
    }
    printf("%d blocks, and the heap still works\n", first);
    return 0;
}
