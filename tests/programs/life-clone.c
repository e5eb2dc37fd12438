/* A child of the bare system call clone: no handler of pthread_atfork has run, and its
 * thread id is its process id, like a main thread's. It reads, frees and allocates as
 * after fork, and so does its own child. The parent has other threads, which wait.
 *
 *     life-clone [main|fresh|used: the thread that clones] [blocks] [bytes of a block]
 */
#include "life.h"
#include <sys/syscall.h>

static long count;
static size_t size;
static char **blocks;
static bool used;

static pid_t bare_clone(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

static void renew(uint64_t old, uint64_t new) {
    for (long i = 0; i < count; i++) {
        check_filled(blocks[i], size, old);
        if (i % 2)
            free(blocks[i]);
        else
            continue;
        fill(blocks[i] = must_malloc(size), size, old);
    }
    for (long i = 0; i < count; i++) {
        check_filled(blocks[i], size, old);
        fill(blocks[i], size, new);
    }
    for (size_t n = 1; n < 300000; n = n * 3 / 2 + 1)
        free(memset(must_malloc(n), 1, n));
    malloc_trim(0);
}

static void *clones(void *arg) {
    if (used)
        free(must_malloc(100));
    pid_t child = bare_clone();
    if (child == 0) {
        die_after(40);
        renew(1, 2);
        pid_t grandchild = arg ? fork() : bare_clone();
        if (grandchild == 0) {
            die_after(40);
            renew(2, 3);
            _exit(0);
        }
        check_child(grandchild, "of a clone");
        renew(2, 3);
        _exit(0);
    }
    check_child(child, "of clone");
    renew(1, 4);
    renew(4, 1);
    return NULL;
}

static pthread_barrier_t ready;

static void *wait_for_ever(void *arg) {
    free(must_malloc(1000));
    sleep_for_ever(&ready);
    return arg;
}

int main(int argc, char **argv) {
    const char *who = argc > 1 ? argv[1] : "main";
    count = argument(argc, argv, 2, 2000);
    size = (size_t)argument(argc, argv, 3, 200);
    used = !strcmp(who, "used");
    blocks = table((size_t)count, sizeof *blocks);
    pthread_barrier_init(&ready, NULL, 3);
    for (int i = 0; i < 2; i++)
        start(wait_for_ever, NULL);
    pthread_barrier_wait(&ready);
    for (long i = 0; i < count; i++)
        fill(blocks[i] = must_malloc(size), size, 1);
    for (int forks = 0; forks < 2; forks++) {
        if (!strcmp(who, "main"))
            clones(forks ? blocks : NULL);
        else
            join(start(clones, forks ? blocks : NULL));
    }
    _exit(0);
}
