/* An address that shares its low bits with a live block (a pointer whose high bits were
 * damaged) is no block: the call ends the program with a line that names the address.
 * Prints the pointer first.
 *
 *     misuse-far [free|realloc|malloc_usable_size|free_sized] [GiB away] [size]
 */
#include "program.h"

void free_sized(void *p, size_t size);
#pragma weak free_sized

int main(int argc, char **argv) {
    const char *call = argc > 1 ? argv[1] : "free";
    uintptr_t away = (uintptr_t)argument(argc, argv, 2, 2048) << 30;
    size_t size = (size_t)argument(argc, argv, 3, 64);
    void *block = must_malloc(size);
    void *volatile p = (void *)((uintptr_t)block + away);
    say("%p", p);
    if (!strcmp(call, "free"))
        free(p);
    else if (!strcmp(call, "realloc"))
        p = realloc(p, 2 * size);
    else if (!strcmp(call, "malloc_usable_size"))
        size = malloc_usable_size(p);
    else
        free_sized(p, size);
    say("survived");
    return 0;
}
