/* A heap of the CS:APP malloc lab (mm.c) on a mapping instead of memlib.c, behind the public names. */
#include "mm.h"
#include "memlib.h"

#include "locked.h"
#include <sys/mman.h>

enum { HEAP = 0x7fff0000 };
static char *heap, *end;

void *mem_sbrk(int more) {
    if (more < 0 || more > HEAP - (end - heap))
        return (void *)-1;
    end += more;
    return end - more;
}
void *mem_heap_lo(void) { return heap; }
void *mem_heap_hi(void) { return end - 1; }
size_t mem_heapsize(void) { return (size_t)(end - heap); }

static int begun(void) {
    if (heap)
        return 1;
    void *p = mmap(NULL, HEAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return 0;
    heap = end = p;
    return mm_init() == 0;
}

static void *locked_malloc(size_t size) { return begun() ? mm_malloc(size) : NULL; }
static void locked_free(void *p) { mm_free(p); }
static void *locked_realloc(void *p, size_t size) { return begun() ? mm_realloc(p, size) : NULL; }
