/* malloc works until the very end: in handlers of atexit, and in destructors of the
 * program and of a library that run after malloc's own, while another thread still
 * allocates; and in handlers of quick_exit. The last of them prints a line.
 *
 *     lifecycle-late [exit|quick_exit|_exit]
 *
 * Compiled with -DLIBRARY -shared it is that library: preloaded behind malloc it is
 * initialised before, and so ended after it.
 */
#include "program.h"

static char *from_start;

static void allocate(const char *where) {
    check_filled(from_start, 1000, 1);
    char *p = calloc(1, 5000);
    check(p, "calloc failed in %s", where);
    check_zero(p, 5000);
    p = realloc(p, 100000 % 60000);
    check(p, "realloc failed in %s", where);
    free(p);
    char *bigger = realloc(from_start, 1000);
    check(bigger, "realloc of an old block failed in %s", where);
    fill(from_start = bigger, 1000, 1);
    char line[64];
    int length = snprintf(line, sizeof line, "%s\n", where);
    check(write(STDOUT_FILENO, line, (size_t)length) == length, "write failed");
}

#ifdef LIBRARY
__attribute__((constructor)) static void begin(void) { fill(from_start = must_malloc(1000), 1000, 1); }
__attribute__((destructor)) static void end(void) { allocate("the library's destructor"); }
#else

static void at_exit(void) { allocate("atexit"); }
static void at_quick_exit_(void) { allocate("at_quick_exit"); }
__attribute__((destructor)) static void end(void) { allocate("the program's destructor"); }

static void *allocate_for_ever(void *arg) {
    (void)arg;
    for (;;) {
        free(must_malloc(100));
        usleep(10);
    }
    return NULL;
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "exit";
    fill(from_start = must_malloc(1000), 1000, 1);
    atexit(at_exit);
    at_quick_exit(at_quick_exit_);
    start(allocate_for_ever, NULL);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(0);
    if (strcmp(how, "_exit") == 0)
        _exit(0);
    return 0;
}
#endif
