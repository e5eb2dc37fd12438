/* mlockall returns at once and locks little, and malloc works afterwards; if a limit on
 * locked memory refuses more, malloc returns NULL with ENOMEM. Prints the result of
 * mlockall and how much could be allocated; a test compares both with glibc's.
 *
 *     life-locked [flags of mlockall] [KiB that a user may lock; 0: as root]
 */
#include "life.h"
#include <grp.h>

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
    int flags = (int)argument(argc, argv, 1, 1);
    long kib = argument(argc, argv, 2, 0);
    free(must_malloc(100));
    if (kib)
        become_a_user(kib);
    die_after(10);
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
