/* malloc holds no file descriptor and needs none: the first free one is 3, even after
 * all kinds of calls, and malloc works when the process may open none at all.
 *
 *     lifecycle-descriptors [descriptors that are closed at the start: 0 or 3]
 */
#include "program.h"
#include <sys/resource.h>

static void use(void) {
    for (size_t size = 1; size < 60000; size = size * 2 + 1) {
        void *p = must_malloc(size);
        p = realloc(p, size / 2 + 1);
        check(p, "realloc failed");
        free(p);
        p = memalign_if_any(256, size);
        check(p, "memalign failed");
        free(p);
    }
    mallinfo2();
    malloc_trim(0);
}

int main(int argc, char **argv) {
    int closed = (int)argument(argc, argv, 1, 0);
    for (int i = 0; i < 64; i++)
        check((fcntl(i, F_GETFD) >= 0) == (i < 3 - closed), "descriptor %d at the start", i);
    use();
    for (int i = 0; i < 64; i++)
        check((fcntl(i, F_GETFD) >= 0) == (i < 3 - closed), "descriptor %d after some calls", i);
    check(closed || dup(0) == 3, "the first free descriptor is not 3");
    struct rlimit none = {0, 0};
    check(setrlimit(RLIMIT_NOFILE, &none) == 0, "setrlimit failed");
    use();
    pid_t child = fork();
    if (child == 0) {
        use();
        _exit(0);
    }
    check_child(child, "without descriptors");
    return 0;
}
