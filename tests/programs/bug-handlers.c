/* Some requests leave a few bytes behind: found by what was never freed. */
#include <stdlib.h>
#include <string.h>

struct request {
    char *user, *path;
};

static char *copy_of(const char *text) {
    size_t length = strlen(text) + 1;
    return memcpy(malloc(length), text, length);
}

__attribute__((noinline)) static char *session_key(int number) {
    char *key = malloc(24);
    memset(key, 'a' + number % 26, 24);
    return key;
}

__attribute__((noinline)) static void handle(int number) {
    struct request request = {copy_of("somebody"), copy_of("/index.html")};
    char *key = session_key(number);
    if (number % 7 == 3)
        key = NULL; /* an early way out, without its free */
    free(key);
    free(request.user);
    free(request.path);
}

int main(void) {
    for (int i = 0; i < 2000; i++)
        handle(i);
    return 0;
}
