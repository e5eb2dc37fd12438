/* Prints how many bytes a chunk of libmalloc_walk has, and where its fields lie. */
#include <stddef.h>
#include <stdio.h>

#include "libmalloc.h"

int main(void) {
    printf("%zu %zu %zu %zu %zu %zu %zu\n", sizeof(struct libmalloc_chunk),
           offsetof(struct libmalloc_chunk, extent), offsetof(struct libmalloc_chunk, user),
           offsetof(struct libmalloc_chunk, usable), offsetof(struct libmalloc_chunk, kind),
           offsetof(struct libmalloc_chunk, size_class), offsetof(struct libmalloc_chunk, owner));
    return 0;
}
