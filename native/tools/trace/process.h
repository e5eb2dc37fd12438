/* process.h: what a trace says of a process: its name, its malloc, what is mapped. */
#pragma once

#include "../../unwind/builds.h"
#include "next.h"
#include "clock.h"
#include "file.h"

/* The parts of /proc/self/maps that hold code, as of the last time we wrote it down. */
enum { CODES = 4096 };
static struct {
    uintptr_t start, end;
} code[CODES];
static size_t codes;

static void code_learn(const char *text, size_t length) {
    codes = 0;
    const char *line = text, *end = text + length;
    while (line < end && codes < CODES) {
        const char *after;
        uintptr_t from = hex_read(line, &after);
        uintptr_t to = *after == '-' ? hex_read(after + 1, &after) : 0;
        if (to && after + 3 < end && after[3] == 'x') {
            code[codes].start = from;
            code[codes++].end = to;
        }
        line = memchr(line, '\n', (size_t)(end - line));
        line = line ? line + 1 : end;
    }
}

static bool code_known(uintptr_t site) {
    for (size_t i = 0; i < codes; i++)
        if (site >= code[i].start && site < code[i].end)
            return true;
    return false;
}

/* Takes out the blanks that pad each line up to its path, a sixth of the text; the length that is left.
 * They follow the fifth word. */
static size_t maps_squeeze(char *text, size_t length) {
    char *to = text;
    const char *end = text + length;
    for (const char *line = text, *rest; line < end; line = rest) {
        rest = memchr(line, '\n', (size_t)(end - line));
        rest = rest ? rest + 1 : end;
        const char *word = line;
        for (int i = 0; i < 5; i++)
            while (word < rest && *word++ != ' ') {
            }
        memmove(to, line, (size_t)(word - line));
        to += word - line;
        while (word < rest && *word == ' ')
            word++;
        memmove(to, word, (size_t)(rest - word));
        to += rest - word;
    }
    return (size_t)(to - text);
}

static void maps_write(void) {
    struct trace_segment *segment = segment_draft(TRACE_MAPS, 0, 0);
    if (!segment)
        return;
    char *text = segment_content(segment);
    size_t length = file_read("/proc/self/maps", text, SEGMENT_ROOM - 1);
    length = maps_squeeze(text, length);
    code_learn(text, length);
    length += builds_list(text, length, text + length, SEGMENT_ROOM - length);
    segment_finish(segment, length);
}

/* Writes maps again when a library has been loaded since. With the lock. */
static void code_meet(uintptr_t site) {
    if (code_known(site) || codes == CODES)
        return;
    maps_write();
    if (!code_known(site) && codes < CODES) { /* made at run time */
        code[codes].start = site & ~(uintptr_t)0xffff;
        code[codes].end = (site | 0xffff) + 1;
        codes++;
    }
}

static void process_describe(uint32_t parent) {
    struct trace_segment *segment = segment_draft(TRACE_PROCESS, 0, 0);
    if (!segment)
        return;
    struct trace_process *process = (void *)segment_content(segment);
    process->pid = (uint32_t)syscall(SYS_getpid);
    process->parent_pid = (uint32_t)syscall(SYS_getppid);
    process->parent = parent;
    process->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
    if (syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", process->executable,
                TRACE_PATH - 1l) < 0)
        strcpy(process->executable, "?"); /* no /proc */
    memcpy(process->provider, next_files, sizeof next_files);
    size_t length = file_read("/proc/self/cmdline", process->command, TRACE_COMMAND - 1);
    segment_finish(segment, offsetof(struct trace_process, command) + length);
}
