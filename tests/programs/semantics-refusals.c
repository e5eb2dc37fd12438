/* Impossible requests return NULL with ENOMEM: sizes of PTRDIFF_MAX and more, and products
 * beyond SIZE_MAX, which would wrap around to a small size. If realloc refuses, the old
 * block does not change.
 *
 *     semantics-refusals [basic|array|aligned] [does aligned_alloc take any size?]
 *
 * In C11 aligned_alloc could refuse a size that is no multiple of the alignment, with EINVAL.
 */
#include "program.h"

static const size_t impossible[] = {
    PTRDIFF_MAX - 15,   PTRDIFF_MAX,   (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX + 17,
    SIZE_MAX - 4096,    SIZE_MAX - 63, SIZE_MAX - 15,           SIZE_MAX,
};
static const size_t products[][2] = {
    {1ul << 32, 1ul << 32}, {(1ul << 32) + 1, 1ul << 32}, {1ul << 63, 2}, {2, (1ul << 63) + 8},
    {SIZE_MAX, SIZE_MAX},   {3, SIZE_MAX / 3 + 1},
};
#define EACH(i, array) (size_t i = 0; i < sizeof(array) / sizeof *(array); i++)

#define refused(call, format, ...)                                                                 \
    do {                                                                                           \
        errno = 0;                                                                                 \
        void *p_ = (call);                                                                         \
        check(!p_, format " found memory", __VA_ARGS__);                                           \
        check(says_enomem(), format " failed with errno %d, not ENOMEM", __VA_ARGS__, errno);    \
    } while (0)

static void basic(void *mine) {
    for EACH (i, impossible) {
        refused(malloc(impossible[i]), "malloc(%zu)", impossible[i]);
        refused(calloc(1, impossible[i]), "calloc(1, %zu)", impossible[i]);
        refused(calloc(impossible[i], 1), "calloc(%zu, 1)", impossible[i]);
        refused(realloc(NULL, impossible[i]), "realloc(NULL, %zu)", impossible[i]);
        refused(realloc(mine, impossible[i]), "realloc(p, %zu)", impossible[i]);
    }
    for EACH (i, products)
        refused(calloc(products[i][0], products[i][1]), "calloc(%zu, %zu)", products[i][0],
                products[i][1]);
}

static void array(void *mine) {
    for EACH (i, products) {
        refused(reallocarray(NULL, products[i][0], products[i][1]), "reallocarray(NULL, %zu, %zu)",
                products[i][0], products[i][1]);
        refused(reallocarray(mine, products[i][0], products[i][1]), "reallocarray(p, %zu, %zu)",
                products[i][0], products[i][1]);
    }
}

static void aligned(bool any_size) {
    for EACH (i, impossible) {
        void *untouched = &untouched;
        size_t size = any_size ? impossible[i] : impossible[i] / 64 * 64;
        refused(aligned_alloc(64, size), "aligned_alloc(64, %zu)", size);
        refused(memalign(4096, impossible[i]), "memalign(4096, %zu)", impossible[i]);
        if (!lacks("valloc"))
            refused(valloc(impossible[i]), "valloc(%zu)", impossible[i]);
        if (!lacks("pvalloc"))
            refused(pvalloc(impossible[i]), "pvalloc(%zu)", impossible[i]);
        check(posix_memalign(&untouched, 64, impossible[i]) == ENOMEM,
              "posix_memalign(64, %zu) is not ENOMEM", impossible[i]);
        check(untouched == &untouched, "posix_memalign was refused and stored a pointer");
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "basic";
    void *mine = must_malloc(100);
    fill(mine, 100, 1);
    if (!strcmp(what, "basic"))
        basic(mine);
    if (!strcmp(what, "array"))
        array(mine);
    if (!strcmp(what, "aligned"))
        aligned(argument(argc, argv, 2, 1));
    check_filled(mine, 100, 1);
    free(mine);
    return 0;
}
