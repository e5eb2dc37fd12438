/* heap-size.h: how much memory the malloc at work has, in the process that plays.
 *
 * The resident size of a process counts its program, its libraries and its stack, which is
 * most of it when a trace is small. This counts what belongs to the heap: [heap], anonymous
 * mappings, and what is written to in the malloc's own library (its static arrays, if any).
 *
 *     libmalloc-replay  text, data, bss    not counted
 *     [heap]                               counted
 *     anonymous                            counted: arenas, records, large blocks
 *     the malloc's library  data, bss      counted, but not the C library's
 *     other libraries                      not counted
 *     /dev/zero (shared)                   not counted: what the player keeps for itself
 *     [stack]                              not counted
 */
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAP_OBJECTS = 64, HEAP_BUFFER = 64 * 1024 };

struct heap_object {
    uintptr_t start, end;
    bool is_malloc;
};

static struct {
    struct heap_object objects[HEAP_OBJECTS];
    int count;
    char buffer[HEAP_BUFFER];
} heap_size_state;

/* Notes where an object lies, its bss included. */
static int heap_note_object(struct dl_phdr_info *info, size_t size, void *malloc_address) {
    struct heap_object object = {UINTPTR_MAX, 0, false};
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD)
            continue;
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        uintptr_t end = start + segment->p_memsz;
        object.start = start < object.start ? start : object.start;
        object.end = end > object.end ? end : object.end;
    }
    uintptr_t address = (uintptr_t)malloc_address;
    const char *name = strrchr(info->dlpi_name, '/');
    object.is_malloc = address >= object.start && address < object.end &&
                       strncmp(name ? name + 1 : info->dlpi_name, "libc.", 5) != 0;
    if (heap_size_state.count < HEAP_OBJECTS)
        heap_size_state.objects[heap_size_state.count++] = object;
    return 0;
}

static void heap_size_open(void) {
    dl_iterate_phdr(heap_note_object, dlsym(RTLD_DEFAULT, "malloc"));
}

static const struct heap_object *heap_object_at(uintptr_t address) {
    for (int i = 0; i < heap_size_state.count; i++) {
        const struct heap_object *object = &heap_size_state.objects[i];
        if (address >= object->start && address < object->end)
            return object;
    }
    return NULL;
}

/* What counts of a mapping: nothing, its anonymous pages, or all that is resident. */
enum heap_counts { HEAP_NOTHING, HEAP_ANONYMOUS, HEAP_RESIDENT };

/* From the first line of a mapping in smaps: `5581…-5581… rw-p 00000000 00:00 0   [heap]`. */
static enum heap_counts heap_counts_of(const char *line) {
    char *end;
    uintptr_t start = strtoull(line, &end, 16);
    for (int fields = 0; *end && fields < 4; end++)
        if (*end == ' ')
            fields++;
    while (*end && *end != ' ' && *end != '\n') /* the inode */
        end++;
    end += strspn(end, " ");
    const struct heap_object *object = heap_object_at(start);
    if (object)
        return object->is_malloc ? HEAP_ANONYMOUS : HEAP_NOTHING;
    if (*end == '\n' || *end == 0 || strncmp(end, "[heap]", 6) == 0 ||
        strncmp(end, "[anon:", 6) == 0)
        return HEAP_RESIDENT;
    return HEAP_NOTHING;
}

/* Adds what a line says; lines that begin with an address begin a mapping. */
static size_t heap_line(const char *line, enum heap_counts *now) {
    if ((*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f'))
        *now = heap_counts_of(line);
    const char *wanted = *now == HEAP_RESIDENT ? "Rss:" : "Anonymous:";
    if (*now == HEAP_NOTHING || strncmp(line, wanted, strlen(wanted)) != 0)
        return 0;
    return strtoul(line + strlen(wanted), NULL, 10) * 1024;
}

/* Bytes of the heap that are in memory; 0 without /proc. Some 0.2 ms, one thread at a time. */
static size_t heap_size(void) {
    char *const buffer = heap_size_state.buffer;
    size_t total = 0, kept = 0;
    enum heap_counts now = HEAP_NOTHING;
    int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    for (ssize_t n; (n = read(fd, buffer + kept, HEAP_BUFFER - 1 - kept)) > 0;) {
        char *line = buffer, *end = buffer + kept + n;
        *end = 0;
        for (char *next; (next = memchr(line, '\n', (size_t)(end - line))); line = next + 1)
            total += heap_line(line, &now);
        kept = (size_t)(end - line);
        memmove(buffer, line, kept);
    }
    close(fd);
    return total;
}
