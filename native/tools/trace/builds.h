/* builds.h: which builds of which files are mapped, so that a reader who finds another file under the
 * name of one does not ask that for names. */
#pragma once

#include "next.h"
#include "process.h"

#include <sys/uio.h>

enum { BUILD_PAGE = 4096 };

/* The build-id in the notes of a file that is mapped at `base`, as text; its length. */
static size_t build_id(const char *base, char *text) {
    const ElfW(Ehdr) *elf = (const void *)base;
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_ident[EI_CLASS] != ELFCLASS64 ||
        elf->e_phoff + elf->e_phnum * sizeof(ElfW(Phdr)) > BUILD_PAGE)
        return 0;
    const ElfW(Phdr) *part = (const void *)(base + elf->e_phoff);
    for (int i = 0; i < elf->e_phnum; i++) {
        const char *at = base + part[i].p_offset, *end = at + part[i].p_filesz;
        while (part[i].p_type == PT_NOTE && part[i].p_offset + part[i].p_filesz <= BUILD_PAGE &&
               at + sizeof(ElfW(Nhdr)) < end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const char *name = at + sizeof *note, *id = name + ((note->n_namesz + 3) & ~3u);
            if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= 64 && id + note->n_descsz <= end &&
                memcmp(name, "GNU", 4) == 0) {
                for (size_t byte = 0; byte < note->n_descsz; byte++)
                    snprintf(text + 2 * byte, 3, "%02x", (unsigned char)id[byte]);
                return 2 * note->n_descsz;
            }
            at = id + ((note->n_descsz + 3) & ~3u);
        }
    }
    return 0;
}

/* From the text of /proc/self/maps: a line `build-id path` for each file that is mapped from its
 * beginning. Only first pages are read, which stay mapped as long as the file does: with a library
 * that another thread unloads at this moment we would crash, so it is asked with the kernel. */
static size_t builds_list(const char *maps, char *to, size_t room) {
    static char page[BUILD_PAGE];
    size_t used = 0;
    for (const char *line = maps; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        char *rest;
        uintptr_t start = strtoul(line, &rest, 16);
        strtoul(rest + (*rest == '-'), &rest, 16);
        const char *end = strchr(line, '\n'), *path = strchr(line, '/');
        if (!end || !path || path > end || strtoul(rest + 6, NULL, 16) != 0 || rest[1] != 'r')
            continue;
        struct iovec here = {page, sizeof page}, there = {(void *)start, sizeof page};
        size_t length = (size_t)(end - path);
        if (syscall(SYS_process_vm_readv, syscall(SYS_getpid), &here, 1l, &there, 1l, 0l) !=
                (long)sizeof page ||
            used + 2 * 64 + length + 3 > room)
            continue;
        size_t id = build_id(page, to + used);
        if (!id)
            continue;
        used += id;
        used += (size_t)snprintf(to + used, room - used, " %.*s\n", (int)length, path);
    }
    return used;
}

static void builds_write(void) {
    struct trace_segment *segment = segment_draft(TRACE_BUILDS, 0, 0);
    char *maps = memory_map(TRACE_SEGMENT);
    size_t used = 0;
    if (maps)
        file_read("/proc/self/maps", maps, TRACE_SEGMENT - 1);
    if (maps && segment)
        used = builds_list(maps, segment_content(segment), SEGMENT_ROOM);
    if (maps)
        munmap(maps, TRACE_SEGMENT);
    if (segment)
        segment_finish(segment, used);
}
