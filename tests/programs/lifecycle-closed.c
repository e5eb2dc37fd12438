/* A daemon closes every descriptor that it does not know, and its own files then get these numbers.
 * malloc never writes to such a file, reads from it, moves its offset or closes it.
 *
 *     lifecycle-closed [calls]
 */
#include "program.h"
#include <sys/mman.h>
#include <sys/stat.h>

enum { FILES = 16, TEXT = 1000, AT = 500 };
static int own[FILES];
static long calls;

static void close_all(void) {
    for (int i = 3; i < 1024; i++)
        close(i);
}

static void open_own(void) {
    char text[TEXT];
    memset(text, 'x', TEXT);
    for (int i = 0; i < FILES; i++) {
        own[i] = memfd_create("daemon", 0);
        check(own[i] >= 0, "memfd_create: %s", strerror(errno));
        check(write(own[i], text, TEXT) == TEXT && lseek(own[i], AT, SEEK_SET) == AT, "write: %s",
              strerror(errno));
    }
}

static void check_own(const char *when) {
    char text[TEXT];
    for (int i = 0; i < FILES; i++) {
        check(fcntl(own[i], F_GETFD) >= 0, "%s descriptor %d is closed", when, own[i]);
        check(lseek(own[i], 0, SEEK_CUR) == AT, "%s the offset of descriptor %d has moved", when,
              own[i]);
        check(pread(own[i], text, TEXT, 0) == TEXT && !memchr(text, 0, TEXT),
              "%s descriptor %d was cut",
              when, own[i]);
        for (int at = 0; at < TEXT; at++)
            check(text[at] == 'x', "%s byte %d of the file of descriptor %d was changed", when, at,
                  own[i]);
        check(lseek(own[i], 0, SEEK_END) == TEXT && lseek(own[i], AT, SEEK_SET) == AT,
              "%s the file of descriptor %d has grown", when, own[i]);
    }
}

static void *use(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    for (long i = 0; i < calls; i++) {
        char *p = must_malloc(1 + chance_size(&random, 500000));
        char *q = calloc(1, 1 + chance_size(&random, 5000));
        check(q, "calloc failed");
        q = realloc(q, 1 + chance_size(&random, 20000));
        check(q, "realloc failed");
        free(p);
        free(q);
        free(memalign_if_any(256, 300));
    }
    mallinfo2();
    malloc_trim(0);
    return NULL;
}

static void last(void) { check_own("at exit"); }

int main(int argc, char **argv) {
    calls = argument(argc, argv, 1, 10000);
    free(must_malloc(100));
    close_all();
    open_own();
    use(NULL);
    check_own("after some calls");
    run_threads(3, use);
    check_own("after three threads");
    pid_t child = fork();
    if (child == 0) {
        use(NULL);
        check_own("in a child");
        _exit(0);
    }
    check_child(child, "with files of its own");
    check_own("after a fork");
    atexit(last);
    return 0;
}
