/* Whoever asks for an aligned block gets one, and can free it. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int is_wrong(const char *name, void *p, size_t alignment) {
    if (!p || (uintptr_t)p % alignment)
        fprintf(stderr, "%s to %zu bytes gives %p\n", name, alignment, p);
    if (!p || (uintptr_t)p % alignment)
        return 1;
    free(p);
    return 0;
}

int main(void) {
    for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
        void *p = NULL;
        if (is_wrong("aligned_alloc", aligned_alloc(alignment, alignment), alignment) ||
            is_wrong("memalign", memalign(alignment, 100), alignment) ||
            is_wrong("posix_memalign", posix_memalign(&p, alignment, 100) ? NULL : p, alignment))
            return 1;
    }
    return 0;
}
