/* A request for a large alignment returns an aligned, usable block, or is refused. It never returns
 * a block that is too small because the sum of size and alignment wrapped around. A refusal leaves
 * *memptr unchanged, or sets it to NULL (POSIX.1-2017).
 *
 *     semantics-far-aligned [alignments|memptr]
 */
#include "program.h"
#include <sys/mman.h>
#include <sys/resource.h>

/* No machine has that many addresses. */
static const int ADDRESS_BITS = 57;
/* The largest block that is asked for and may be granted, and the largest alignment of one: some
 * mallocs round the size up to the alignment and write a record for each page of the sum, which
 * takes minutes and gigabytes from 1 TiB on, and is no defect. */
static const size_t MOST = 64ul << 20, FARTHEST = 16ul << 30;

static bool can_be(size_t alignment, size_t size) {
    return alignment >> ADDRESS_BITS == 0 && size >> ADDRESS_BITS == 0;
}

static void usable_or_refused(char *p, size_t alignment, size_t size, const char *call) {
    if (!p)
        return;
    check(can_be(alignment, size), "%s(%zu, %zu) found memory", call, alignment, size);
    check((uintptr_t)p % alignment == 0, "%s(%zu, %zu): %p", call, alignment, size, (void *)p);
    p[0] = p[size - 1] = 1;
    free(p);
}

static void alignments(void) {
    for (size_t alignment = 8192; alignment; alignment *= 2) {
        const size_t sizes[] = {1,
                                100,
                                alignment,
                                (size_t)1 << 62,
                                (size_t)PTRDIFF_MAX - alignment + 1,
                                PTRDIFF_MAX,
                                (size_t)0 - alignment,
                                (size_t)0 - alignment + 4096,
                                (size_t)0 - alignment / 2,
                                SIZE_MAX - 4095};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t size = sizes[i];
            if (size == 0 || (can_be(alignment, size) && (size > MOST || alignment > FARTHEST)))
                continue;
            void *p = NULL;
            int error = posix_memalign(&p, alignment, size);
            check(!error || error == ENOMEM || error == EINVAL, "posix_memalign(%zu, %zu) is %d",
                  alignment, size, error);
            usable_or_refused(error ? NULL : p, alignment, size, "posix_memalign");
            usable_or_refused(memalign(alignment, size), alignment, size, "memalign");
            usable_or_refused(aligned_alloc(alignment, size), alignment, size, "aligned_alloc");
        }
    }
}

/* Is it refused, and *memptr unchanged? */
static bool refused(size_t alignment, size_t size) {
    void *p = &p, *before = p;
    if (posix_memalign(&p, alignment, size) == 0) {
        free(p);
        return false;
    }
    check(p == before || !p, "posix_memalign(%zu, %zu) was refused and stored %p", alignment, size,
          p);
    return true;
}

/* Impossible sizes, and possible ones when there is no memory left. A malloc may still return some
 * that it reserved before the limit was set. */
static void memptr(void) {
    for (size_t alignment = 8; alignment <= 1 << 20; alignment *= 2)
        check(refused(alignment, PTRDIFF_MAX), "posix_memalign(%zu, %td) found memory", alignment,
              PTRDIFF_MAX);
    free(must_malloc(100));
    struct rlimit limit = {256 << 20, 256 << 20};
    check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit: %s", strerror(errno));
    for (size_t alignment = 8; alignment <= 1 << 20; alignment *= 2)
        for (size_t size = 257 << 20; size <= (size_t)2 << 30; size *= 2)
            refused(alignment, size);
    static void *taken[4096];
    void *p = &p, *before = p;
    int count = 0;
    while (count < 4096 && posix_memalign(&p, 4096, 1 << 18) == 0) {
        taken[count++] = p;
        p = before;
    }
    check(count == 4096 || p == before || !p,
          "posix_memalign(4096, 262144) was refused and stored %p", p);
    while (count > 0)
        free(taken[--count]);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "memptr"))
        memptr();
    else
        alignments();
    return 0;
}
