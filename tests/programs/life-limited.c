/* A program limits its own addresses after it has started, as sandboxes and graders do.
 * Within the limit there is room for its own mapping, for threads, and for blocks of
 * any size.
 *
 *     life-limited [MiB of addresses] [do new threads find memory when all of it is used?]
 */
#include "life.h"

static void *use(void *arg) {
    for (int i = 0; i < 100; i++)
        free(must_malloc(5000));
    return arg;
}

int main(int argc, char **argv) {
    long mib = argument(argc, argv, 1, 2048);
    use(NULL);
    struct rlimit limit = {(rlim_t)mib << 20, (rlim_t)mib << 20};
    long used = addresses_mib();
    check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit: %s", strerror(errno));
    void *own = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("limited to %ld MiB, when %ld were in use", mib, used);
    check(own != MAP_FAILED, "the program's own mmap fails: %s", strerror(errno));
    run_threads(4, use);
    for (int i = 0; i < 1000; i++)
        memset(must_malloc(100000), 1, 100000);
    for (int i = 0; i < 4000; i++)
        memset(must_malloc(1000), 1, 1000);
    long large = 0;
    while (malloc(40 * MIB))
        large++;
    check(says_enomem(), "malloc failed with errno %d", errno);
    long room = (mib - 1024 - 150) / 2; /* 1 GiB of reserve and 150 MiB of blocks; half of the rest */
    say("%ld blocks of 40 MiB", large);
    check(large * 40 >= room, "only %ld MiB in large blocks", large * 40);
    if (argument(argc, argv, 2, 1))
        run_threads(2, use);
    return 0;
}
