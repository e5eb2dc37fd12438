/* Small notes between large buffers keep the memory of the buffers: found by what lies in the map
 * where nearly all is free. */
#include <stdlib.h>
#include <string.h>

enum { BUFFERS = 400, BYTES = 16 * 1024 };

__attribute__((noinline)) static char *read_buffer(void) {
    return memset(malloc(BYTES), 1, BYTES);
}

__attribute__((noinline)) static char *log_line(void) {
    return memset(malloc(48), 2, 48);
}

static char *lines[BUFFERS];

int main(void) {
    static char *buffers[BUFFERS];
    for (int i = 0; i < BUFFERS; i++) {
        buffers[i] = read_buffer();
        lines[i] = log_line();
    }
    for (int i = 0; i < BUFFERS; i++)
        free(buffers[i]);
    return 0;
}
