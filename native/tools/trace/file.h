/* file.h: the trace file, segment by segment, from any number of processes.
 *
 * System calls go through syscall(2): open, close and fallocate of libc are
 * cancellation points, and malloc is none. No descriptor stays open.
 */
#pragma once

#include "../trace.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    char path[TRACE_PATH];
    struct trace_header *header; /* shared by all processes */
    uint64_t origin;
    uint32_t process; /* our number in it */
} file;

/* Zeroed memory of our own, not from the malloc that is watched; a forked child has a copy. NULL when
 * there is none. */
static void *memory_map(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void file_close(int fd) {
    syscall(SYS_close, fd);
}

/* Beyond the standard streams, which a program may have closed. -1 when it cannot be. */
static int file_open(const char *path, int flags) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    file_close(fd);
    return moved;
}

/* The file has a temporary name until it is complete; then the first process that links it wins. */
static void file_create(void) {
    char draft[TRACE_PATH + 32];
    snprintf(draft, sizeof draft, "%s.%ld", file.path, (long)syscall(SYS_getpid));
    int fd = file_open(draft, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return;
    struct trace_header header = {
        .magic = "LMTRACE",
        .version = TRACE_VERSION,
        .segment = TRACE_SEGMENT,
        .segments = 1,
        .options = 0,
        .rate = clock_rate(),
        .origin = clock_ticks(),
        .realtime = clock_system(CLOCK_REALTIME),
    };
    bool written = syscall(SYS_pwrite64, fd, &header, sizeof header, 0l) == sizeof header &&
                   syscall(SYS_ftruncate, fd, (long)TRACE_SEGMENT) == 0;
    file_close(fd);
    if (written)
        syscall(SYS_linkat, AT_FDCWD, draft, AT_FDCWD, file.path, 0);
    syscall(SYS_unlinkat, AT_FDCWD, draft, 0);
}

static bool file_is_ours(const struct trace_header *header) {
    return memcmp(header->magic, "LMTRACE", 8) == 0 && header->version == TRACE_VERSION &&
           header->segment == TRACE_SEGMENT;
}

/* The file's first segment; false when there is none to be had. */
static bool file_begin(void) {
    int fd = file_open(file.path, O_RDWR);
    if (fd < 0) {
        file_create();
        fd = file_open(file.path, O_RDWR);
    }
    if (fd < 0)
        return false;
    struct trace_header *header = MAP_FAILED;
    if (syscall(SYS_lseek, fd, 0l, SEEK_END) >= (long)sizeof *header)
        header = mmap(NULL, sizeof *header, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    file_close(fd);
    if (header == MAP_FAILED)
        return false;
    if (!file_is_ours(header)) {
        munmap(header, sizeof *header);
        return false;
    }
    file.header = header;
    file.origin = header->origin;
    return true;
}

static inline uint64_t file_now(void) {
    return clock_ticks() - file.origin;
}

/* A file beyond its limit would end the program by SIGXFSZ. */
static bool file_may_grow(uint64_t end) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur >= end;
}

static void file_option(uint32_t option) {
    atomic_fetch_or((_Atomic(uint32_t) *)&file.header->options, option);
}

/* To write up to `end`; -1, and the reason in the header, when that cannot be. */
static int file_open_until(uint64_t end) {
    if (!file_may_grow(end)) {
        file_option(TRACE_NO_ROOM);
        return -1;
    }
    int fd = file_open(file.path, O_RDWR);
    if (fd < 0)
        file_option(TRACE_NO_FILE);
    return fd;
}

static uint64_t segment_place(void) {
    return atomic_fetch_add(&file.header->segments, 1) * TRACE_SEGMENT;
}

static void segment_head(struct trace_segment *segment, uint32_t kind, uint32_t stream,
                         uint32_t order) {
    atomic_store((_Atomic(uint32_t) *)&segment->kind, kind);
    segment->magic = TRACE_MAGIC;
    segment->process = file.process;
    segment->stream = stream;
    segment->order = order;
    segment->base = file_now();
}

static inline char *segment_content(struct trace_segment *segment) {
    return (char *)(segment + 1);
}

enum { SEGMENT_ROOM = TRACE_SEGMENT - sizeof(struct trace_segment) };

/* Writes a finished segment with `used` bytes of content to a place of its own in the
 * file; false when there is no room for it. What is behind them stays a hole. */
static bool segment_store(struct trace_segment *segment, size_t used) {
    segment->used = (uint32_t)used;
    segment->sealed = TRACE_FINISHED;
    segment->sum = 0;
    size_t whole = sizeof *segment + ((used + 15) & ~(size_t)15);
    segment->sum = trace_sum((const uint32_t *)(const void *)segment, whole);
    uint64_t at = segment_place();
    int fd = file_open_until(at + TRACE_SEGMENT);
    if (fd < 0)
        return false;
    long done = syscall(SYS_pwrite64, fd, segment, (long)whole, (long)at);
    file_close(fd);
    if (done != (long)whole)
        file_option(TRACE_NO_ROOM);
    return done == (long)whole;
}

/* Sums up what is in a segment that is in use, and stays so. The sum is made on a copy:
 * a kill in between leaves the segment as it was, without one. */
static __attribute__((unused)) void segment_sum_up(struct trace_segment *segment, size_t used) {
    void *p = mmap(NULL, TRACE_SEGMENT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return;
    struct trace_segment *copy = memcpy(p, segment, sizeof *segment + used);
    copy->used = (uint32_t)used;
    copy->sealed = TRACE_AT_EXIT;
    copy->sum = 0;
    segment->used = copy->used;
    segment->sum = trace_sum((const uint32_t *)p, sizeof *copy + used);
    atomic_store((_Atomic(uint32_t) *)&segment->sealed, TRACE_AT_EXIT);
    munmap(p, TRACE_SEGMENT);
}

/* Zeroed memory of ours, counted as shared, so that it is not taken for the program's. A forked child sees
 * it, because a handler that has interrupted us may fork, and must not write to it. NULL if there is
 * none. */
static void *memory_apart(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Memory for a segment that will be stored when it is finished. */
static struct trace_segment *segment_draft(uint32_t kind, uint32_t stream, uint32_t order) {
    struct trace_segment *segment = memory_map(TRACE_SEGMENT);
    if (segment)
        segment_head(segment, kind, stream, order);
    return segment;
}

static bool segment_finish(struct trace_segment *draft, size_t used) {
    bool stored = segment_store(draft, used);
    munmap(draft, TRACE_SEGMENT);
    return stored;
}

/* Makes room on the disk up to `end`, now: a store that found none later would end the program by
 * SIGBUS. False without room. */
static bool file_reserve(int fd, uint64_t at, uint64_t end) {
    static const char zeros[4096];
    for (; at < end; at += sizeof zeros)
        if (syscall(SYS_pwrite64, fd, zeros, sizeof zeros, (long)at) != sizeof zeros) {
            file_option(TRACE_NO_ROOM);
            return false;
        }
    return true;
}

/* A page: most of a thousand small processes need no more of a segment. */
static size_t segment_step(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* A segment of the file itself, which a stream uses again and again: what is stored in
 * it survives us, and its pages are paid for once (a fault for each 256 records would
 * cost more than the records). There is room for `room` bytes; behind them is a hole, or the
 * file's end. NULL without room, descriptors or memory. */
static struct trace_segment *segment_live(size_t room) {
    uint64_t at = segment_place();
    int fd = file_open_until(at + TRACE_SEGMENT);
    if (fd < 0)
        return NULL;
    void *p = MAP_FAILED;
    if (file_reserve(fd, at, at + room))
        p = mmap(NULL, TRACE_SEGMENT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (long)at);
    file_close(fd);
    if (p == MAP_FAILED)
        return NULL;
    struct trace_segment *segment = p;
    segment->place = (uint32_t)(at / TRACE_SEGMENT);
    return segment;
}

/* Room for a whole segment instead of its first `room` bytes. False when there is none. */
static bool segment_extend(const struct trace_segment *segment, size_t room) {
    uint64_t at = (uint64_t)segment->place * TRACE_SEGMENT;
    int fd = room < TRACE_SEGMENT ? file_open_until(at + TRACE_SEGMENT) : -1;
    if (fd < 0)
        return false;
    bool done = file_reserve(fd, at + room, at + TRACE_SEGMENT);
    file_close(fd);
    return done;
}

/* Begins a segment that is filled step by step. Idle until its head is complete, so that a kill in
 * between leaves no half of one. */
static void segment_start(struct trace_segment *segment, uint32_t kind, uint32_t stream,
                          uint32_t order, uint32_t thread, uint64_t base) {
    segment_head(segment, TRACE_IDLE, stream, order);
    segment->thread = thread;
    segment->base = base;
    segment->check = 0;
    struct trace_segment head = *segment;
    head.kind = kind;
    segment->check = trace_sum((const uint32_t *)(const void *)&head, sizeof head);
    atomic_store((_Atomic(uint32_t) *)&segment->kind, kind);
}

/* A full segment goes to a place of its own, and what was used of it is emptied. Should we be killed in between, it is
 * there twice, or idle: the reader knows both. False when there was no room for it. */
static bool segment_empty(struct trace_segment *segment, size_t used) {
    bool stored = segment_store(segment, used);
    atomic_store((_Atomic(uint32_t) *)&segment->kind, TRACE_IDLE);
    memset(segment_content(segment), 0, used);
    segment->sealed = segment->used = segment->sum = 0;
    return stored;
}

/* Up to `room` bytes of a file; how many there were. */
static size_t file_read(const char *path, char *to, size_t room) {
    int fd = file_open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    size_t got = 0;
    for (long n; got < room && (n = syscall(SYS_read, fd, to + got, room - got)) > 0;)
        got += (size_t)n;
    file_close(fd);
    return got;
}

/* Work that no signal handler may interrupt, and that leaves errno alone. */
struct calm {
    uint64_t signals;
    int error;
};

static struct calm calm_begin(void) {
    struct calm calm = {.error = errno};
    uint64_t all = ~0ull;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &calm.signals, sizeof all);
    return calm;
}

static void calm_end(struct calm calm) {
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &calm.signals, NULL, sizeof calm.signals);
    errno = calm.error;
}
