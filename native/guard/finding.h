/* finding.h: each report of the guard a second time, for `libmalloc run`.
 *
 * A process that dies cannot read debug information. `libmalloc run` can, after the process has
 * ended, if it knows the addresses and what was mapped there. With LIBMALLOC_REPORT=PREFIX in the
 * environment each report is appended to PREFIX-findings.PID (scripts/malloc/findings.ts):
 *
 *      libmalloc: free(): double free of 0x7f1000 (100 bytes)
 *      allocated 55d0c0a81156 7f0a4e2461ca      return addresses, the innermost first
 *      freed 55d0c0a81166
 *      found in 55d0c0a81176
 *      55d0c0a81000-55d0c0a82000 r-xp …         /proc/self/maps
 *      build-id 93ac61ec… /lib/libc.so.6
 *      end                                      what is above belongs to these maps
 */
#pragma once

#include "../base/os.h"
#include "../base/report.h"
#include "../unwind/builds.h"
#include "../unwind/maps.h"

enum { FINDING_MAPS = 1 << 20 };

static char finding_prefix[REPORT_PATH]; /* a copy, because programs overwrite their environment */

static void finding_begin(void) {
    const char *prefix = secure_getenv("LIBMALLOC_REPORT");
    if (prefix && strlen(prefix) < sizeof finding_prefix)
        strcpy(finding_prefix, prefix);
}

/* One write, so that lines of two threads do not mix. */
static void finding_write(const char *text, size_t length) {
    char path[REPORT_PATH + 32];
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    if (!*finding_prefix)
        return;
    snprintf(path, sizeof path, "%s-findings.%ld", finding_prefix, (long)getpid());
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
    if (fd < 0)
        return;
    if (syscall(SYS_write, fd, text, length) < 0) { /* nothing can be done */
    }
    syscall(SYS_close, fd);
}

/* The end of what one call reports. */
static void finding_end(void) {
    char *text = *finding_prefix ? os_map(FINDING_MAPS) : NULL;
    if (!text)
        return;
    const char end[] = "end\n";
    size_t room = FINDING_MAPS - sizeof end, length = 0;
    struct maps m = maps_open();
    long got = 1;
    while (m.fd >= 0 && got > 0 && length < room)
        if ((got = syscall(SYS_read, m.fd, text + length, room - length)) > 0)
            length += (size_t)got;
    maps_close(&m);
    length += builds_list(text, length, text + length, room - length);
    memcpy(text + length, end, sizeof end - 1);
    finding_write(text, length + sizeof end - 1);
    os_unmap(text, FINDING_MAPS);
}
