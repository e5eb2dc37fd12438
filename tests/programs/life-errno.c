/* free is the first call of a thread, when no address space is left: it keeps errno, and
 * the block can be allocated again.
 *
 *     life-errno [bytes of a block]
 */
#include "life.h"

static void *block;
static pthread_barrier_t limited;

static void *free_first(void *arg) {
    pthread_barrier_wait(&limited);
    errno = 77;
    free(block);
    check(errno == 77, "free as a thread's first call left errno %d", errno);
    errno = 78;
    free(NULL);
    check(errno == 78, "free(NULL) left errno %d", errno);
    return arg;
}

int main(int argc, char **argv) {
    block = must_malloc((size_t)argument(argc, argv, 1, 100));
    pthread_barrier_init(&limited, NULL, 2);
    pthread_t thread = start(free_first, NULL);
    struct rlimit none = {MIB, MIB};
    check(setrlimit(RLIMIT_AS, &none) == 0, "setrlimit: %s", strerror(errno));
    pthread_barrier_wait(&limited);
    join(thread);
    return 0;
}
