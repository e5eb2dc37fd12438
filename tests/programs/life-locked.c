/* mlockall returns at once and locks little, and malloc works afterwards; if a limit on
 * locked memory refuses more, malloc returns NULL with ENOMEM. Prints the result of
 * mlockall and how much could be allocated; a test compares both with glibc's.
 *
 *     life-locked [flags of mlockall] [KiB that a user may lock; 0: as root]
 */
#include "life.h"
#include <grp.h>
#include <sys/prctl.h>

enum { ENOUGH_MIB = 1024, ENOUGH_TABLES = 64 };

static long mib_of(const char *status, const char *name) {
    const char *at = strstr(status, name);
    return at ? strtol(at + strlen(name), NULL, 10) / 1024 : 0;
}

/* A child that ends us before mlockall has filled all memory: it may be at it for minutes. */
static void watch(void) {
    char path[64], status[4096];
    pid_t mine = getpid();
    snprintf(path, sizeof path, "/proc/%d/status", mine);
    pid_t child = fork();
    check(child >= 0, "fork: %s", strerror(errno));
    if (child > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (; getppid() == mine; usleep(50000)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd < 0 ? -1 : read(fd, status, sizeof status - 1);
        if (got <= 0)
            _exit(0);
        close(fd);
        status[got] = 0;
        long resident = mib_of(status, "VmRSS:"), tables = mib_of(status, "VmPTE:");
        if (resident <= ENOUGH_MIB && tables <= ENOUGH_TABLES)
            continue;
        kill(mine, SIGKILL);
        check(false, "mlockall makes %ld MiB resident, and %ld MiB of page tables, and goes on",
              resident, tables);
    }
    _exit(0);
}

static void become_a_user(long kib) {
    struct rlimit limit = {(rlim_t)kib * 1024, (rlim_t)kib * 1024};
    check(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit: %s", strerror(errno));
    if (geteuid() == 0) {
        gid_t nobody = 65534;
        check(!setgroups(1, &nobody) && !setgid(nobody) && !setuid(nobody), "setuid: %s",
              strerror(errno));
    }
}

/* Allocates up to `most` blocks of `size` bytes, frees them, and returns their KiB. */
static long take(size_t size, long most) {
    char *last = NULL;
    long count = 0;
    for (char *p; count < most; last = p, count++) {
        errno = 0;
        if (!(p = malloc(size)))
            break;
        memset(p, 1, size);
        *(char **)p = last;
    }
    check(count == most || says_enomem(), "malloc failed with errno %d", errno);
    for (char *next; last; last = next) {
        next = *(char **)last;
        free(last);
    }
    return count * (long)size / 1024;
}

int main(int argc, char **argv) {
    watch();
    int flags = (int)argument(argc, argv, 1, 1);
    long kib = argument(argc, argv, 2, 0);
    free(must_malloc(100));
    if (kib)
        become_a_user(kib);
    int refused = mlockall(flags) ? errno : 0;
    long locked = status_kib("VmLck:") / 1024, resident = resident_mib();
    long tables = status_kib("VmPTE:") / 1024;
    long small = take(1000, 4000), again = take(1000, 4000), large = take(100000, 60);
    say("%s %ld %ld", refused ? strerrorname_np(refused) : "ok", small, large);
    check(kib || locked <= 256, "%ld MiB are locked", locked);
    check(resident <= 64, "%ld MiB are resident", resident);
    check(tables <= 8, "%ld MiB are in page tables", tables);
    check(again >= small * 9 / 10, "%ld KiB of blocks were freed, only %ld came back", small, again);
    check(kib || small + large > 8000, "root could have %ld and %ld KiB only", small, large);
    return 0;
}
