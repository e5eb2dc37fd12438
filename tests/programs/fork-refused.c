/* A fork that the system refuses (RLIMIT_NPROC) does not change the parent: its threads
 * continue to allocate at full speed, and a later fork works.
 *
 *     fork-refused [refused forks] [threads]
 */
#include "program.h"
#include <sys/resource.h>

static atomic_bool stop;
static atomic_long calls;

static void *allocate_for_ever(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    while (!stop) {
        free(must_malloc(chance_size(&random, 3000)));
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

int main(int argc, char **argv) {
    long forks = argument(argc, argv, 1, 100), threads = argument(argc, argv, 2, 3);
    check(threads <= 32, "32 threads at most");
    pthread_t busy[32];
    for (long i = 0; i < threads; i++)
        busy[i] = start(allocate_for_ever, (void *)i);
    struct rlimit before, none;
    check(getrlimit(RLIMIT_NPROC, &before) == 0, "getrlimit failed");
    none = before;
    none.rlim_cur = 0;
    check(setrlimit(RLIMIT_NPROC, &none) == 0, "setrlimit failed");
    if (geteuid() == 0) /* the limit does not bind root, so become `nobody` */
        check(setresuid(65534, 65534, 65534) == 0, "setresuid: %s", strerror(errno));
    for (long i = 0; i < forks; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        check(child < 0 && errno == EAGAIN, "fork was not refused");
        free(must_malloc(1000));
    }
    check(setrlimit(RLIMIT_NPROC, &before) == 0, "setrlimit failed");
    long reached = calls;
    while (calls < reached + 1000) /* no thread waits for a fork any more */
        sched_yield();
    check_fork("after those that were refused");
    stop = true;
    for (long i = 0; i < threads; i++)
        join(busy[i]);
    return 0;
}
