/* Sizes have more than 32 bits. A block of more than 4 GiB is usable from its first byte to its last,
 * or refused if there is no room for it. A size that was cut to 32 bits would be a small one, which
 * fails the first and is not refused. Only single pages are touched.
 *
 *     semantics-wide
 */
#include "program.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define GIB  ((size_t)1 << 30)
#define WIDE (4 * GIB + 8192)

static const size_t places[] = {0, 4095, 8191, GIB, 2 * GIB - 1, 2 * GIB, 4 * GIB - 1, 4 * GIB,
                                4 * GIB + 100, WIDE - 1};
enum { PLACES = sizeof places / sizeof *places };

/* The system may have too little memory, too: then mmap refuses twice as much. */
static bool is_room(void) {
    void *p = mmap(NULL, 2 * WIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    munmap(p, 2 * WIDE);
    return true;
}

static void whole(void) {
    char *small = must_malloc(100);
    fill(small, 100, 1);
    errno = 0;
    char *p = malloc(WIDE);
    if (!p) {
        check(says_enomem(), "malloc(%zu) failed with errno %d", WIDE, errno);
        check(!is_room(), "malloc(%zu) failed, and the system has room for twice as much", WIDE);
        free(small);
        return;
    }
    check(small + 100 <= p || p + WIDE <= small, "a small block lies inside of the large one");
    check(usable_size(p, WIDE) >= WIDE, "%zu usable bytes of %zu", usable_size(p, WIDE), WIDE);
    for (int i = 0; i < PLACES; i++)
        p[places[i]] = (char)(i + 1);
    char *other = must_malloc(20000);
    check(other + 20000 <= p || p + WIDE <= other, "a later block lies inside of the large one");
    memset(other, 99, 20000);
    for (int i = 0; i < PLACES; i++)
        check(p[places[i]] == (char)(i + 1), "byte %zu of %zu was changed", places[i], WIDE);
    check_filled(small, 100, 1);
    free(other);
    free(p);
    free(small);
}

/* From a small block: a malloc that copies has hardly anything to copy. */
static void grown(void) {
    char *p = must_malloc(100);
    memset(p, 7, 100);
    char *q = lacks("realloc") ? NULL : realloc(p, WIDE);
    if (!q) {
        check(lacks("realloc") || !is_room(),
              "realloc(p, %zu) failed, and the system has room for twice as much", WIDE);
        free(p);
        return;
    }
    check(q[0] == 7 && q[99] == 7, "realloc(p, %zu) lost what was there", WIDE);
    q[WIDE - 1] = 8;
    check(usable_size(q, WIDE) >= WIDE, "realloc(p, %zu): %zu usable bytes", WIDE,
          usable_size(q, WIDE));
    free(q);
}

static void refused(void) {
    struct rlimit limit = {3 * GIB, 3 * GIB};
    char *p = must_malloc(100);
    fill(p, 100, 2);
    check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit: %s", strerror(errno));
    check(!malloc(WIDE), "malloc(%zu) found memory where 3 GiB are all there is", WIDE);
    check(lacks("calloc") || !calloc(65536, 65537),
          "calloc(65536, 65537) found memory where 3 GiB are all there is");
    check(lacks("memalign") || !memalign(64, WIDE),
          "memalign(64, %zu) found memory where 3 GiB are all there is", WIDE);
    check(lacks("realloc") || !realloc(p, WIDE),
          "realloc(p, %zu) found memory where 3 GiB are all there is", WIDE);
    check_filled(p, 100, 2);
    free(p);
}

int main(void) {
    pid_t child = fork(); /* a malloc that retains addresses would have enough of them later */
    if (child == 0) {
        refused();
        _exit(0);
    }
    int status;
    check(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
    check(!WIFSIGNALED(status), "a child with 3 GiB of addresses died of signal %d",
          WTERMSIG(status));
    if (WEXITSTATUS(status))
        return WEXITSTATUS(status); /* the child has printed the reason */
    whole();
    grown();
    return 0;
}
