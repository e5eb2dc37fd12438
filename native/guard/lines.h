/* lines.h: source lines and inlined functions of a report, from llvm-symbolizer or addr2line.
 *
 * A process that is about to abort can neither allocate nor trust its heap, so it does not read debug
 * information itself: it starts one of these programs for each file in its stacks, as sanitizers do.
 *
 *     this thread ── clone ── a waiter ── clone, execve ── the program
 *          └──── reads from a pipe, at most 10 seconds in all ───┘
 *
 * clone and not fork: no handler of pthread_atfork runs, no page is copied. A process that calls execve
 * sends SIGCHLD when it ends, whatever clone said. The waiter between gets it, and ends without one: the
 * program sees no signal, and its own wait() finds no child. Both are processes of their own, so a
 * seccomp filter that kills for execve kills none of ours. If anything is missing or refused, the report
 * has functions and offsets.
 *
 * Not under `libmalloc run`, which adds the lines itself when the process has ended (finding.h), not in
 * setuid programs, whose PATH is not theirs, and not with LIBMALLOC_DEBUG=lines=0.
 */
#pragma once

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "finding.h"
#include "names.h"
#include "records.h"

enum {
    LINES_SECONDS = 10,    /* for all files together; a browser's debug information takes longer */
    LINES_MOST = 320,      /* addresses of one report: more than 32 leaks with 8 calls each */
    LINES_TEXT = 1 << 18,
    CHILD_STACK = 1 << 16,
    TOOL_ARGUMENTS = 8,
};

/* What debug information says of a function: `""` where it says nothing. */
struct source {
    char function[128], place[128]; /* `program.c:12` */
};

/* A return address, and what it is called. */
struct asked {
    const void *frame;
    uintptr_t address; /* of the call, as linked */
    const char *answer; /* pairs of lines, innermost first: a function, then file and line */
    char file[200], number[20];
};

static struct {
    char path[4096];       /* PATH at the start: programs overwrite their environment */
    _Atomic(long) asker;   /* the thread that asks; of two that report at once, only the first */
    struct asked *asked;
    size_t count;
    char *text; /* answers */
    size_t used;
    char tool[REPORT_PATH];
    bool llvm;
    long deadline; /* seconds */
} lines;

/* At the start of the process. */
static void lines_prepare(void) {
    const char *path = secure_getenv("PATH");
    if (path && strlen(path) < sizeof lines.path)
        strcpy(lines.path, path);
}

static long lines_clock(void) {
    struct timespec now = {0};
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* ── the program that reads debug information ──────────────────────────────── */

/* Looks for a program in PATH. */
static bool tool_find(const char *name) {
    const char *path = lines.path;
    for (size_t length; *path; path += length + (path[length] == ':')) {
        length = strcspn(path, ":");
        int used = snprintf(lines.tool, sizeof lines.tool, "%.*s/%s", (int)length, path, name);
        if (*path == '/' && used < (int)sizeof lines.tool &&
            syscall(SYS_faccessat, AT_FDCWD, lines.tool, X_OK) == 0)
            return true;
    }
    return false;
}

/* llvm-symbolizer is preferred: addr2line gives some inlined functions of C++ the name of what they
 * were inlined into. */
static bool tool_choose(void) {
    return (lines.llvm = tool_find("llvm-symbolizer")) || tool_find("addr2line");
}

struct start {
    char *const *words;
    char *stack;
    int out;
    long pid; /* of the program, once it runs */
};

/* Shares our memory until execve. The pipe's end is none of 0 to 2. */
static int tool_exec(void *given) {
    const struct start *s = given;
    static char *const environment[] = {"LC_ALL=C", NULL};
    uint64_t none = 0;
    int null = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);
    syscall(SYS_dup3, null, 0, 0);
    syscall(SYS_dup3, null, 2, 0);
    syscall(SYS_dup3, s->out, 1, 0);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
    syscall(SYS_execve, lines.tool, s->words, environment);
    syscall(SYS_exit_group, 127);
    return 127;
}

static int tool_wait(void *given) {
    struct start *s = given;
    s->pid = clone(tool_exec, s->stack + CHILD_STACK, CLONE_VM | CLONE_VFORK, s);
    if (s->pid > 0)
        syscall(SYS_wait4, s->pid, NULL, __WALL, NULL);
    syscall(SYS_exit_group, 0);
    return 0;
}

/* Returns the waiter. Signals are blocked in it, because it would run our handlers on our memory. */
static long tool_start(struct start *s) {
    uint64_t all = ~(uint64_t)0, before;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof all);
    long waiter = clone(tool_wait, s->stack + 2 * CHILD_STACK, CLONE_VM, s);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    return waiter;
}

/* Appends what the program writes to the answers; false if it takes too long. */
static bool tool_read(int in) {
    for (;;) {
        long left = lines.deadline - lines_clock(), room = LINES_TEXT - 1 - (long)lines.used;
        struct pollfd ready = {.fd = in, .events = POLLIN};
        struct timespec most = {.tv_sec = left};
        if (left <= 0 || room <= 0 || syscall(SYS_ppoll, &ready, 1, &most, NULL, 0) <= 0)
            return false;
        long got = syscall(SYS_read, in, lines.text + lines.used, room);
        if (got <= 0)
            return got == 0;
        lines.used += (size_t)got;
    }
}

/* Both ends of a pipe above the standard descriptors, which programs close. */
static bool pipe_open(int ends[2]) {
    int low[2];
    if (syscall(SYS_pipe2, low, O_CLOEXEC) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        ends[i] = (int)syscall(SYS_fcntl, low[i], F_DUPFD_CLOEXEC, 3);
        syscall(SYS_close, low[i]);
    }
    return ends[0] >= 0 && ends[1] >= 0;
}

static bool tool_run(char *const *words) {
    int ends[2];
    struct start s = {.words = words, .stack = os_map(2 * CHILD_STACK)};
    if (!s.stack || !pipe_open(ends))
        return false;
    s.out = ends[1];
    long waiter = tool_start(&s);
    syscall(SYS_close, ends[1]);
    bool done = waiter > 0 && tool_read(ends[0]);
    syscall(SYS_close, ends[0]);
    if (!done && s.pid > 0)
        syscall(SYS_kill, s.pid, SIGKILL);
    if (waiter > 0)
        syscall(SYS_wait4, waiter, NULL, __WALL, NULL);
    os_unmap(s.stack, 2 * CHILD_STACK);
    return done;
}

/* ── questions and answers ─────────────────────────────────────────────────── */

/* Begins a report: lines_add notes its stacks, lines_ask has them named. */
static void lines_begin(void) {
    long nobody = 0;
    if (*finding_prefix || !guard.lines || !tool_choose() ||
        !atomic_compare_exchange_strong(&lines.asker, &nobody, syscall(SYS_gettid)))
        return;
    char *memory = os_map(LINES_MOST * sizeof(struct asked) + LINES_TEXT);
    lines.asked = (void *)memory;
    lines.text = memory ? memory + LINES_MOST * sizeof(struct asked) : NULL;
}

static bool lines_are_ours(void) {
    return lines.asked && atomic_load(&lines.asker) == syscall(SYS_gettid);
}

/* Notes the addresses of a stack. */
static void lines_add(void *const frames[STACK_MOST]) {
    for (int i = 0; lines_are_ours() && i < STACK_MOST && frames[i] && lines.count < LINES_MOST; i++) {
        struct asked *a = &lines.asked[lines.count];
        struct mapping m;
        if (!mapping_find((uintptr_t)frames[i], &m) || m.path[0] != '/')
            continue;
        struct file f = {0};
        uintptr_t start;
        a->frame = frames[i];
        if (!(f.bytes = os_map_file(m.path, &f.size)))
            continue; /* the file is gone */
        file_name(f, (uintptr_t)frames[i] - 1 - m.start + m.offset, &a->address, &start);
        os_unmap((void *)(uintptr_t)f.bytes, f.size);
        memcpy(a->file, m.path, sizeof a->file);
        snprintf(a->number, sizeof a->number, "0x%zx", a->address);
        lines.count += a->address != 0;
    }
}

/* From line to line; past the last one, the end of the text. */
static char *line_end(char *at) {
    return at + strcspn(at, "\n");
}

/* `0x1166`, then pairs of lines, for each address in turn. Divides the text at the numbers. */
static void answers_take(struct asked **asked, size_t count, char *text) {
    size_t i = 0;
    while (*text) {
        char *end = line_end(text), *behind = end + (*end != '\0');
        if (strncmp(text, "0x", 2) == 0 && i < count) {
            *text = '\0'; /* ends the answer before it */
            asked[i++]->answer = behind;
        }
        text = behind;
    }
}

/* Asks for all addresses in the file of `first`; false if no more can be asked. */
static bool file_ask(struct asked *first) {
    static const char *const flags[] = {"-a", "-i", "-f", "-C", "-e"};
    static char *words[LINES_MOST + TOOL_ARGUMENTS];
    static struct asked *asked[LINES_MOST];
    size_t count = 0, word = 0, from = lines.used;
    words[word++] = lines.tool;
    if (lines.llvm)
        words[word++] = (char *)(uintptr_t)"--output-style=GNU";
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        words[word++] = (char *)(uintptr_t)flags[i];
    words[word++] = first->file;
    for (struct asked *a = first; a < lines.asked + lines.count; a++)
        if (!a->answer && strcmp(a->file, first->file) == 0) {
            asked[count++] = a;
            words[word++] = a->number;
            a->answer = "";
        }
    words[word] = NULL;
    if (!tool_run(words))
        return false;
    lines.text[lines.used++] = '\0';
    answers_take(asked, count, lines.text + from);
    return true;
}

static void lines_ask(void) {
    lines.deadline = lines_clock() + LINES_SECONDS;
    for (size_t i = 0; lines_are_ours() && i < lines.count; i++)
        if (!lines.asked[i].answer && !file_ask(&lines.asked[i]))
            return;
}

/* What is known of a return address: the empty text where it is nothing. */
static const char *lines_of(const void *frame) {
    for (size_t i = 0; lines_are_ours() && i < lines.count; i++)
        if (lines.asked[i].frame == frame && lines.asked[i].answer)
            return lines.asked[i].answer;
    return "";
}

/* Copies a line without the folders in it, and what a compiler says of its branch (`discriminator`). */
static void line_copy(char to[128], const char *from, bool path) {
    size_t length = strcspn(from, "\n");
    for (size_t i = 0; path && i < length; i++)
        if (from[i] == '/') {
            from += i + 1;
            length -= i + 1;
            i = (size_t)-1;
        }
    if (path && memchr(from, ' ', length))
        length = (size_t)((const char *)memchr(from, ' ', length) - from);
    snprintf(to, 128, "%.*s", (int)length, from);
}

/* Takes one function from an answer. False at its end. */
static bool lines_next(const char **answer, struct source *out) {
    const char *function = *answer, *place = strchr(function, '\n');
    if (!place)
        return false;
    line_copy(out->function, function, false);
    line_copy(out->place, place + 1, true);
    if (*function == '?')
        out->function[0] = '\0';
    if (out->place[0] == '?' || strstr(out->place, ":0") || strstr(out->place, ":?"))
        out->place[0] = '\0';
    const char *end = strchr(place + 1, '\n');
    *answer = end ? end + 1 : "";
    return true;
}
