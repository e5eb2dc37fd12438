/* Requests for aligned blocks return aligned blocks, which can be freed. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[] = {"aligned_alloc", "memalign", "posix_memalign"};

static void *ask(int how, size_t alignment) {
    void *p = NULL;
    if (how == 0)
        return aligned_alloc(alignment, alignment);
    if (how == 1)
        return memalign(alignment, 100);
    return posix_memalign(&p, alignment, 100) ? NULL : p;
}

int main(void) {
    for (size_t alignment = 16; alignment <= 65536; alignment *= 2)
        for (int how = 0; how < 3; how++) {
            void *all[3]; /* the first may be aligned by chance */
            for (int i = 0; i < 3; i++)
                if (!(all[i] = ask(how, alignment)) || (uintptr_t)all[i] % alignment) {
                    fprintf(stderr, "%s to %zu bytes gives %p\n", names[how], alignment, all[i]);
                    return 1;
                }
            for (int i = 0; i < 3; i++)
                free(all[i]);
        }
    return 0;
}
