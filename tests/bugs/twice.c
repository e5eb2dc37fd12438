/* A connection's buffer is freed when the connection fails, and again when it is closed. */
#include <stdlib.h>
#include <string.h>

struct connection {
    char *buffer;
    int failed;
};

__attribute__((noinline)) static void connection_send(struct connection *c, size_t length) {
    if (length > 512) {
        c->failed = 1;
        free(c->buffer); /* and leaves it there */
        return;
    }
    memset(c->buffer, 1, length);
}

__attribute__((noinline)) static void connection_close(struct connection *c) {
    free(c->buffer);
    c->buffer = NULL;
}

int main(void) {
    static struct connection open[3];
    for (int i = 0; i < 3; i++)
        open[i].buffer = malloc(512);
    for (int i = 0; i < 3; i++)
        connection_send(&open[i], 500 + 10 * (size_t)i);
    for (int i = 0; i < 3; i++)
        connection_close(&open[i]);
    return open[2].failed;
}
