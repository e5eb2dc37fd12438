/* summary.h: the heap's figures as text: for malloc_stats, at exit (LIBMALLOC_OPTIONS=
 * stats=/FILE), and at a signal (dump=SIGNAL).
 *
 *      libmalloc 0.1.0 (paged): nginx, process 4711, at signal 12, time 1796000000
 *      system bytes     =      4194304 in 7 regions
 *      …
 *
 * May run in a signal handler that interrupted malloc, so nothing here allocates; the file
 * is written by open, write and close. Each summary is one write to the end of the file, so
 * those of several processes do not mix.
 */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "limit.h"

struct text {
    size_t used;
    char bytes[1024];
};

static void text_add(struct text *t, const char *s) {
    while (*s && t->used < sizeof t->bytes)
        t->bytes[t->used++] = *s++;
}

/* In decimal digits, right-aligned. Not by printf, which may allocate and lock. */
static void text_number(struct text *t, size_t n, unsigned width) {
    char digits[24], *d = digits + sizeof digits - 1;
    *d = '\0';
    do
        *--d = (char)('0' + n % 10);
    while (n /= 10);
    while (d > digits && (size_t)(digits + sizeof digits - 1 - d) < width)
        *--d = ' ';
    text_add(t, d);
}

static void text_line(struct text *t, const char *name, size_t bytes, size_t count,
                      const char *counted) {
    text_add(t, name);
    text_number(t, bytes, 12);
    if (counted) {
        text_add(t, " in ");
        text_number(t, count, 0);
        text_add(t, counted);
    }
    text_add(t, "\n");
}

static void text_stats(struct text *t, struct libmalloc_stats s) {
    if (s.size) {
        text_line(t, "system bytes     = ", s.mapped, s.regions, " regions");
        text_line(t, "in use bytes     = ", s.live_bytes, s.live_blocks, " blocks");
        text_line(t, "free bytes       = ", s.free_bytes, s.free_blocks, " blocks");
        text_line(t, "never used bytes = ", s.fresh_bytes, 0, NULL);
        text_line(t, "header bytes     = ", s.header_bytes, 0, NULL);
        text_line(t, "spare bytes      = ", s.spare_bytes, 0, NULL);
    } else {
        text_add(t, "no figures: the heap was busy\n");
    }
    if (s.limit) {
        text_line(t, "limit            = ", s.limit, 0, NULL);
        text_line(t, "taken of it      = ", s.taken, 0, NULL);
    }
}

/* The path of stats=, with the process id for each %p. */
static void text_path(struct text *t) {
    for (const char *c = options.stats; *c; c++)
        if (c[0] == '%' && c[1] == 'p') {
            text_number(t, (size_t)getpid(), 0);
            c++;
        } else {
            text_add(t, (char[2]){*c});
        }
    if (t->used == sizeof t->bytes) /* too long: no file of that name can be opened */
        t->used = 0;
    t->bytes[t->used] = '\0';
}

static void summary_write(struct text *t) {
    struct text path = {0};
    int fd = STDERR_FILENO;
    if (options.stats[0]) {
        text_path(&path);
        fd = open(path.bytes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
    }
    if (fd >= 0 && write(fd, t->bytes, t->used) < 0) { /* nothing can be done */
    }
    if (fd >= 0 && options.stats[0])
        close(fd);
}

/* Writes a summary. `signal` is 0 at exit: then we may wait for locks, unless this thread holds
 * one itself (exit was called in a signal handler). */
static void summary(int signal) {
    struct text t = {0};
    struct timespec now;
    int saved = errno;
    clock_gettime(CLOCK_REALTIME, &now);
    text_add(&t, heap_version);
    text_add(&t, ": ");
    text_add(&t, program_invocation_short_name);
    text_add(&t, ", process ");
    text_number(&t, (size_t)getpid(), 0);
    text_add(&t, signal ? ", at signal " : ", at exit");
    if (signal)
        text_number(&t, (size_t)signal, 0);
    text_add(&t, ", time ");
    text_number(&t, (size_t)now.tv_sec, 0);
    text_add(&t, "\n");
    text_stats(&t, count(!signal && heap_is_idle()));
    summary_write(&t);
    errno = saved;
}

/* The program's own handler replaces ours, whether it was installed before (by an earlier
 * constructor) or is installed later; and an inherited SIG_IGN stays. */
__attribute__((constructor)) static void summary_begin(void) {
    struct sigaction now, ours = {.sa_handler = summary, .sa_flags = SA_RESTART};
    options_read();
    if (options.dump && sigaction(options.dump, NULL, &now) == 0 &&
        !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
        sigaction(options.dump, &ours, NULL);
}

__attribute__((destructor)) static void summary_end(void) {
    if (options.stats[0])
        summary(0);
}
