/* A log line that is longer than its buffer: it overwrites what lies behind. */
#include <stdio.h>
#include <stdlib.h>

void checkpoint(void);
__attribute__((noinline)) void checkpoint(void) { __asm__ volatile("" ::: "memory"); }

static char *lines[4];

/* "[code] name" and the zero need 4 bytes more than code and name; a name may have 200. */
__attribute__((noinline)) static char *line_make(int code, const char *name) {
    char *line = malloc(48);
    sprintf(line, "[%03d] %s", code, name);
    return line;
}

int main(void) {
    lines[0] = line_make(200, "/index.html");
    lines[1] = line_make(404, "/favicon.ico");
    lines[2] = line_make(200, "/style.css");
    free(lines[1]);
    lines[1] = line_make(404, "/2019/holidays/italy/venice/grand-canal-by-night/large.jpeg");
    checkpoint();
    for (int i = 0; i < 3; i++)
        free(lines[i]);
    return 0;
}
