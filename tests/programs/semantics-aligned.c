/* posix_memalign, aligned_alloc, memalign, valloc and pvalloc return blocks at a multiple
 * of the alignment, up to 64 MiB, usable to the last byte; free and realloc accept them
 * like any other. An invalid alignment is refused with EINVAL.
 *
 *     semantics-aligned [largest alignment] [does aligned_alloc take any size?]
 *
 * In C11 aligned_alloc took only sizes that are multiples of the alignment; some mallocs still do.
 */
#include "program.h"

static bool any_size;

static void check_block(void *p, size_t alignment, size_t size, const char *call) {
    check(p, "%s(%zu, %zu) failed: errno %d", call, alignment, size, errno);
    check((uintptr_t)p % alignment == 0, "%s(%zu, %zu): %p", call, alignment, size, p);
    check(usable_size(p, size) >= size, "%s(%zu, %zu): only %zu usable bytes", call, alignment,
          size, usable_size(p, size));
    fill(p, size, 1);
}

static void one(size_t alignment, size_t size) {
    size_t whole = any_size ? size : (size + alignment - 1) / alignment * alignment;
    void *p = NULL, *q = aligned_alloc(alignment, whole), *r = memalign(alignment, size);
    check(posix_memalign(&p, alignment, size) == 0, "posix_memalign(%zu, %zu) failed", alignment,
          size);
    check_block(p, alignment, size, "posix_memalign");
    check_block(q, alignment, size, "aligned_alloc");
    check_block(r, alignment, size, "memalign");
    check_filled(p, size, 1);
    check_filled(q, size, 1);
    uintptr_t origin = (uintptr_t)r;
    r = realloc(r, 2 * size + 1);
    check(r, "realloc of an aligned block failed");
    check_moved(r, (void *)origin, size, 1);
    free(q);
    free(p);
    free(r);
}

static void whole_pages(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (strcmp(provider("pvalloc"), provider("malloc")) != 0)
        return; /* another malloc's function: its blocks must not reach this one's free */
    for (size_t size = 1; size < 5 * page; size += page / 3) {
        void *p = valloc(size), *q = pvalloc(size);
        check_block(p, page, size, "valloc");
        check_block(q, page, (size + page - 1) / page * page, "pvalloc");
        free(p);
        free(q);
    }
}

static void refused(void) {
    void *p = &p, *before = p;
    const size_t none[] = {0, 1, 3, 4, 12, 24, 100, 4095};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        check(posix_memalign(&p, none[i], 100) == EINVAL, "posix_memalign(%zu) is not refused",
              none[i]);
        check(p == before, "posix_memalign(%zu) was refused and stored a pointer", none[i]);
    }
}

int main(int argc, char **argv) {
    size_t most = (size_t)argument(argc, argv, 1, 64 << 20);
    any_size = argument(argc, argv, 2, 1);
    for (size_t alignment = sizeof(void *); alignment <= most; alignment *= 2) {
        for (size_t size = 1; size <= 40000; size = size * 5 + 3)
            one(alignment, size);
        for (size_t times = 1; times <= 4 && alignment <= 16384; times++)
            for (int again = 0; again < 20; again++)
                one(alignment, times * alignment);
    }
    whole_pages();
    refused();
    return 0;
}
