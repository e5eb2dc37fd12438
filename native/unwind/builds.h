/* builds.h: the build ids of mapped files, so that a reader does not take names from another file that now
 * has the same path. They are written behind the maps, in lines of another form:
 * `build-id 93ac61ec… /lib/libc.so.6`. */
#pragma once

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BUILD_PAGE = 4096 };

/* As strtoul in base 16, in a third of the time: each process that is watched reads its maps. */
static uintptr_t hex_read(const char *text, const char **rest) {
    uintptr_t value = 0;
    for (;; text++) {
        unsigned digit = (unsigned)*text - '0', letter = (unsigned)*text - 'a';
        if (digit > 9 && letter > 5)
            break;
        value = value << 4 | (digit <= 9 ? digit : letter + 10);
    }
    *rest = text;
    return value;
}

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
                for (size_t digit = 0; digit < 2 * note->n_descsz; digit++)
                    text[digit] = "0123456789abcdef"[(unsigned char)id[digit / 2] >> (digit % 2 ? 0 : 4) & 15];
                return 2 * note->n_descsz;
            }
            at = id + ((note->n_descsz + 3) & ~3u);
        }
    }
    return 0;
}

/* The line of one mapping, `length` bytes, as one of ours in `to`, where there is room for it; its
 * length. Only the first page of a file is read, with the kernel's help: another thread may unload it
 * at this moment. */
static size_t build_line(const char *line, size_t length, char *to, size_t room) {
    static char page[BUILD_PAGE];
    const char *path = memchr(line, '/', length), *rest;
    size_t named = path ? length - (size_t)(path - line) : 0;
    if (!path || room < named + 160)
        return 0;
    uintptr_t start = hex_read(line, &rest);
    hex_read(rest + 1, &rest);
    if (rest[1] != 'r' || hex_read(rest + 6, &rest) != 0)
        return 0;
    struct iovec here = {page, sizeof page}, there = {(void *)start, sizeof page};
    long pid = syscall(SYS_getpid);
    if (syscall(SYS_process_vm_readv, pid, &here, 1l, &there, 1l, 0l) != (long)sizeof page)
        return 0;
    size_t id = build_id(page, to + 9);
    if (!id)
        return 0;
    memcpy(to, "build-id ", 9);
    to[9 + id] = ' ';
    memcpy(to + 10 + id, path, named);
    to[10 + id + named] = '\n';
    return 11 + id + named;
}

/* From the text of /proc/self/maps: a line for each file that is mapped from its beginning. */
static size_t builds_list(const char *maps, size_t length, char *to, size_t room) {
    size_t used = 0;
    const char *end = maps + length;
    for (const char *next_line; maps < end; maps = next_line) {
        const char *stop = memchr(maps, '\n', (size_t)(end - maps));
        if (!stop) /* the text was cut */
            break;
        used += build_line(maps, (size_t)(stop - maps), to + used, room - used);
        next_line = stop + 1;
    }
    return used;
}
