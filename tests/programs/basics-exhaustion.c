/* When memory runs out, malloc returns NULL; freed memory can be allocated again. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

int main(int argc, char **argv) {
    size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 8000;
    setrlimit(RLIMIT_AS, &(struct rlimit){128 << 20, 128 << 20});
    void **last = NULL, **p;
    int count = 0; /* addresses that the malloc reserved before are not limited */
    for (; count < 20000 && (p = malloc(size)); count++) {
        *p = last;
        last = p;
    }
    for (; last; last = p) {
        p = *last;
        free(last);
    }
    if (count > 0 && !malloc(size)) {
        fprintf(stderr, "when all %d blocks are freed, there is still no memory\n", count);
        return 1;
    }
    return 0;
}
