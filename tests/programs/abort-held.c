/* A thread that aborts does not release a lock that another thread holds. A crash reporter runs in the
 * thread whose free was refused, while a second thread is in malloc, holding a lock, and a third one
 * waits for that lock. The third must not get it before the second has released it.
 *
 * This program's system calls take the place of libc's (link with -rdynamic): in one of them, the
 * second thread waits until the reporter lets it continue; with `early`, until the aborting thread maps
 * its fresh heap. Then the second thread finds its heap lost before there is another one, and must get
 * its block all the same.
 */
#include "program.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { LARGE = 300000, PATIENCE = 100000000 /* ns */ };
static atomic_bool resting, released, passed;
static atomic_int waiting; /* the third thread's number */
static _Thread_local bool rests, replaces;
static bool early;
static sigjmp_buf back;

static void nap(long nanoseconds) {
    nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL);
}

void *mmap(void *p, size_t length, int protection, int flags, int fd, off_t offset) {
    if (rests) {
        rests = false;
        for (resting = true; !released;)
            nap(1000000);
    }
    if (replaces) {
        replaces = false;
        released = true;
        nap(PATIENCE);
    }
    return (void *)syscall(SYS_mmap, p, length, protection, flags, fd, offset);
}

static void *second(void *arg) {
    rests = true;
    free(must_malloc(LARGE));
    return arg;
}

static void *third(void *arg) {
    waiting = gettid();
    free(must_malloc(LARGE));
    passed = true;
    return arg;
}

/* In a system call: the letter behind the name in parentheses. */
static bool sleeps(int thread) {
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && read(fd, text, sizeof text - 1) > 0, "cannot read %s", path);
    close(fd);
    char *end = strrchr(text, ')');
    return end && end[2] == 'S';
}

static void aborted(int signal) {
    (void)signal;
    nap(PATIENCE);
    check(early || !passed, "a lock that another thread holds was dropped");
    free(must_malloc(1000)); /* meanwhile, the reporter has a heap that works */
    siglongjmp(back, 1);
}

int main(int argc, char **argv) {
    early = argc > 1 && strcmp(argv[1], "early") == 0;
    die_after(60);
    signal(SIGABRT, aborted);
    char *volatile p = must_malloc(100);
    pthread_t one = start(second, NULL), other;
    while (!resting)
        nap(1000000);
    other = start(third, NULL);
    while (!waiting || !sleeps(waiting))
        nap(1000000);
    if (sigsetjmp(back, 1) == 0) {
        replaces = early;
        free(p + 16);
        check(false, "a free of the middle of a block did not abort");
    }
    check(early || !passed, "a lock that another thread holds was dropped");
    released = true;
    join(one);
    join(other);
    check(passed, "nobody passed");
    return 0;
}
