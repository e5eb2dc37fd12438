/* hello.c: allocates, prints, ends. Also linked in each way that LD_PRELOAD cannot reach. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    char *text = malloc(64);
    if (!text)
        return 1;
    snprintf(text, 64, "hello from %d arguments", argc - 1);
    puts(text);
    free(text);
    return argc > 1 ? atoi(argv[1]) : 0;
}
