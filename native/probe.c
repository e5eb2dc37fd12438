/* probe.c: which library provides malloc in this process?
 *
 * Preloaded behind any malloc, it asks the dynamic linker who answers for malloc,
 * calloc, realloc and free, and leaves the answer in a report (report.h). It
 * allocates nothing, opens no descriptor for longer than a moment, and prints
 * nothing: a program must not notice it.
 *
 * By hand: cc -O2 -fPIC -shared -o libmalloc-probe.so native/probe.c
 */
#include "report.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const calls[REPORT_CALLS] = {"malloc", "calloc", "realloc", "free"};

/* As it was at the start: a program may change its environment. */
static char prefix[REPORT_PATH];

/* A program may have closed its standard streams: the descriptor must not become
 * one of them for as much as a moment, so it is moved beyond them. */
static int open_beyond_stderr(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return moved;
}

static struct report *report_open(void) {
    char path[REPORT_PATH + 32];
    if (snprintf(path, sizeof path, "%s.%ld", prefix, (long)getpid()) >= (int)sizeof path)
        return NULL;
    int fd = open_beyond_stderr(path);
    if (fd < 0)
        return NULL;
    struct report *r = MAP_FAILED;
    if (ftruncate(fd, sizeof *r) == 0)
        r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return r == MAP_FAILED ? NULL : r;
}

static void report_fill(struct report *r) {
    r->version = REPORT_VERSION;
    r->size = sizeof *r;
    r->pid = (uint32_t)getpid();
    if (readlink("/proc/self/exe", r->executable, REPORT_PATH - 1) < 0)
        strcpy(r->executable, "?"); /* no /proc */
    for (int i = 0; i < REPORT_CALLS; i++) {
        Dl_info info;
        void *function = dlsym(RTLD_DEFAULT, calls[i]);
        if (function && dladdr(function, &info) && info.dli_fname)
            strncpy(r->provider[i], info.dli_fname, REPORT_PATH - 1);
    }
    memcpy(r->magic, "LMREPORT", sizeof r->magic);
}

/* At the start and in every forked child; errno is the program's. */
static void probe_report(void) {
    int saved = errno;
    struct report *r = report_open();
    if (r) {
        report_fill(r);
        munmap(r, sizeof *r);
    }
    errno = saved;
}

__attribute__((constructor)) static void probe_start(void) {
    const char *wanted = secure_getenv("LIBMALLOC_REPORT");
    if (!wanted || !*wanted || strlen(wanted) >= sizeof prefix)
        return;
    strcpy(prefix, wanted);
    probe_report();
    pthread_atfork(NULL, NULL, probe_report);
}
