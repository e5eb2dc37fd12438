/* maps.h: /proc/self/maps, read with system calls alone: no allocation, no lock, and no
 * cancellation point as open(3) and read(3) are.
 */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct mapping {
    uintptr_t start, end, offset; /* offset: in the file */
    bool readable, writable, executable, shared;
    char path[200];
};

/* Reads line by line. */
struct maps {
    int fd; /* -1: there is none */
    size_t at, length;
    char text[1024];
};

static int maps_byte(struct maps *m) {
    if (m->at == m->length) {
        long got = syscall(SYS_read, m->fd, m->text, sizeof m->text);
        m->at = 0;
        m->length = got > 0 ? (size_t)got : 0;
    }
    return m->at < m->length ? (unsigned char)m->text[m->at++] : -1;
}

static bool maps_next(struct maps *m, struct mapping *out) {
    char line[400], *rest = line;
    size_t length = 0;
    int byte;
    while (m->fd >= 0 && (byte = maps_byte(m)) >= 0 && byte != '\n')
        if (length < sizeof line - 1)
            line[length++] = (char)byte;
    line[length] = '\0';
    if (!length)
        return false;
    *out = (struct mapping){.start = strtoul(rest, &rest, 16)};
    out->end = strtoul(rest + 1, &rest, 16);
    out->readable = rest[1] == 'r';
    out->writable = rest[2] == 'w';
    out->executable = rest[3] == 'x';
    out->shared = rest[4] == 's';
    out->offset = strtoul(rest + 6, &rest, 16);
    const char *path = strpbrk(rest, "/[");
    for (size_t i = 0; path && path[i] && i < sizeof out->path - 1; i++)
        out->path[i] = path[i];
    return true;
}

static struct maps maps_open(void) {
    return (struct maps){
        .fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC)};
}

static void maps_close(struct maps *m) {
    if (m->fd >= 0)
        syscall(SYS_close, m->fd);
}

static bool mapping_find(uintptr_t address, struct mapping *out) {
    struct maps m = maps_open();
    bool found = false;
    while (!found && maps_next(&m, out))
        found = address >= out->start && address < out->end;
    maps_close(&m);
    return found;
}
