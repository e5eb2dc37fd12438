/* misuse CALL KIND SIZE: gives a pointer that is no live block to one call of the
 * malloc in use, having printed the pointer, and says so if it survives. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);
#pragma weak free_sized
#pragma weak free_aligned_sized

enum { NEIGHBOURS = 8 };
static char statically[64] __attribute__((aligned(16)));

static char *mapping(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    return mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
}

static void *no_block(const char *kind, size_t size) {
    char *all[NEIGHBOURS];
    for (int i = 0; i < NEIGHBOURS; i++)
        memset(all[i] = malloc(size), 0x41, size);
    char *p = all[NEIGHBOURS / 2];
    if (!strcmp(kind, "low"))
        return (void *)16;
    if (!strcmp(kind, "unmapped"))
        return (void *)0x123456789000;
    if (!strcmp(kind, "beyond user space"))
        return (void *)0xffff800000001000;
    if (!strcmp(kind, "on the stack"))
        return __builtin_frame_address(0);
    if (!strcmp(kind, "static"))
        return statically;
    if (!strcmp(kind, "in somebody's mapping"))
        return mapping() + 65536;
    if (!strcmp(kind, "interior"))
        return p + 16;
    if (!strcmp(kind, "in the middle"))
        return p + (size / 2 & ~(size_t)15);
    if (!strcmp(kind, "misaligned"))
        return p + 1;
    if (!strcmp(kind, "8 bytes in"))
        return p + 8;
    if (!strcmp(kind, "before the block"))
        return p - 16;
    if (!strcmp(kind, "behind the highest block")) {
        for (int i = 0; i < NEIGHBOURS; i++)
            p = all[i] > p ? all[i] : p;
        return p + malloc_usable_size(p);
    }
    if (!strcmp(kind, "freed")) {
        free(p);
        return p;
    }
    if (!strcmp(kind, "freed with its neighbours")) {
        for (int i = 0; i < NEIGHBOURS; i++)
            free(all[i]);
        return p;
    }
    if (!strcmp(kind, "shrunk away")) {
        p = all[0];
        return realloc(p, 1) == p ? p + size - 16 : p;
    }
    fprintf(stderr, "misuse: unknown kind %s\n", kind);
    exit(2);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    const char *call = argv[1];
    size_t size = strtoul(argv[3], NULL, 10);
    static char out[BUFSIZ];
    setvbuf(stdout, out, _IOFBF, sizeof out);
    void *volatile p = no_block(argv[2], size);
    printf("%p\n", p);
    fflush(stdout);
    if (!strcmp(call, "free"))
        free(p);
    else if (!strcmp(call, "realloc"))
        p = realloc(p, 2 * size);
    else if (!strcmp(call, "reallocarray"))
        p = reallocarray(p, 2, size);
    else if (!strcmp(call, "malloc_usable_size"))
        size = malloc_usable_size(p);
    else if (!strcmp(call, "free_sized"))
        free_sized(p, 1);
    else if (!strcmp(call, "free_aligned_sized"))
        free_aligned_sized(p, 1, 1);
    else
        return 2;
    puts("survived");
    return 0;
}
