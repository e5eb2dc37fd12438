/* fork when there is no memory left, not even for a fresh heap, while threads ask for
 * more and hold malloc's locks: neither the children nor their parent hang. Requests of
 * a child may be refused; blocks that it has can be read and freed.
 *
 *     exhaustion-fork [forks] [threads]
 */
#include "program.h"
#include <sys/resource.h>

enum { SIZE = 3000, OLD = 20 };
static atomic_bool stop;

static void *ask_for_ever(void *arg) {
    size_t size = (size_t)arg * 40000 + 100;
    while (!stop) {
        void *p = malloc(size);
        check(p || says_enomem(), "malloc failed with errno %d", errno);
        free(p);
    }
    return NULL;
}

static long pages_mapped(void) {
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    check(read(fd, text, sizeof text - 1) > 0, "cannot read /proc/self/statm");
    close(fd);
    return strtol(text, NULL, 10);
}

int main(int argc, char **argv) {
    long forks = argument(argc, argv, 1, 100), threads = argument(argc, argv, 2, 3);
    check(threads <= 32, "32 threads at most");
    pthread_t busy[32];
    char *old[OLD];
    for (int i = 0; i < OLD; i++)
        fill(old[i] = must_malloc(SIZE), SIZE, 1);
    for (long i = 0; i < threads; i++)
        busy[i] = start(ask_for_ever, (void *)(i + 1));
    struct rlimit all, here;
    check(getrlimit(RLIMIT_AS, &all) == 0, "getrlimit failed");
    here = all;
    here.rlim_cur = (rlim_t)(pages_mapped() * sysconf(_SC_PAGESIZE));
    check(setrlimit(RLIMIT_AS, &here) == 0, "setrlimit failed");
    for (long i = 0; i < forks; i++) {
        pid_t child = fork();
        if (child == 0) {
            die_after(30);
            for (int j = 0; j < OLD; j++) {
                check_filled(old[j], SIZE, 1);
                free(old[j]);
                void *p = malloc(SIZE);
                check(p || says_enomem(), "malloc failed with errno %d", errno);
                free(p);
            }
            _exit(0);
        }
        check_child(child, "without memory");
    }
    check(setrlimit(RLIMIT_AS, &all) == 0, "setrlimit failed");
    stop = true;
    for (long i = 0; i < threads; i++)
        join(busy[i]);
    for (int i = 0; i < OLD; i++)
        free(old[i]);
    return 0;
}
