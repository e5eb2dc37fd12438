/* A process whose threads allocate starts another program, in each possible way: fork and
 * exec, vfork and exec, posix_spawn, system. The new program runs on this malloc as well,
 * which its status confirms.
 *
 *     fork-exec [rounds] [threads]
 */
#include "program.h"
#include <spawn.h>

extern char **environ;
enum { SENTINEL = 7 };
static atomic_bool stop;

static void *allocate_for_ever(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg + 1;
    while (!stop)
        free(must_malloc(chance_size(&random, 3000)));
    return NULL;
}

static void check_next(pid_t child, const char *way) {
    int status = 0;
    check(child > 0, "%s: %s", way, strerror(errno));
    check(waitpid(child, &status, 0) == child, "waitpid (%s)", way);
    check_ended(status, SENTINEL, way);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "next") == 0) {
        die_after(30);
        free(must_malloc(1000));
        return SENTINEL;
    }
    long rounds = argument(argc, argv, 1, 20), threads = argument(argc, argv, 2, 3);
    check(threads <= 32, "32 threads at most");
    char *const next[] = {argv[0], "next", NULL};
    char command[4096];
    snprintf(command, sizeof command, "exec '%s' next", argv[0]);
    pthread_t busy[32];
    for (long i = 0; i < threads; i++)
        busy[i] = start(allocate_for_ever, (void *)i);

    for (long i = 0; i < rounds; i++) {
        pid_t child = fork();
        if (child == 0) {
            die_after(30);
            free(must_malloc(100));
            execv(next[0], next);
            _exit(1);
        }
        check_next(child, "fork and exec");
        child = vfork();
        if (child == 0) {
            execv(next[0], next);
            _exit(1);
        }
        check_next(child, "vfork and exec");
        check(posix_spawn(&child, next[0], NULL, NULL, next, environ) == 0, "posix_spawn failed");
        check_next(child, "posix_spawn");
        int status = system(command);
        check_ended(status, SENTINEL, "system");
    }
    stop = true;
    for (long i = 0; i < threads; i++)
        join(busy[i]);
    return 0;
}
