/* stack.h: by which calls did we get here, and what are they called?
 *
 * backtrace(3) would load a library, allocate, and take locks that the caller of
 * malloc may hold. So we follow the frame pointers, never beyond the stack that we
 * stand on, and remember bare addresses. Code that was compiled without frame
 * pointers breaks the chain: its immediate call is known always, what follows may be
 * missing. What is no return address is sorted out when it is printed.
 *
 * Names are read from the symbol tables of the files that are mapped, with system
 * calls alone, since the loader's own questions (dladdr) take its lock.
 */
#pragma once

#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/os.h"
#include "records.h"

enum { FRAME_MOST = 1 << 20 }; /* bytes; a longer step up the stack is not believed */

extern char __ehdr_start[] __attribute__((visibility("hidden"))); /* our own code lies */
extern char etext[] __attribute__((visibility("hidden")));        /* between these two */
extern void *__libc_stack_end __attribute__((weak));              /* the main thread's */

/* The end of this thread's stack: its control block lies there, but the main thread's.
 * NULL on a stack that is neither's. */
static const char *stack_end(const char *here) {
    const char *control = (const char *)pthread_self();
    const char *end = &__libc_stack_end ? __libc_stack_end : NULL;
    if (control > here && (end < here || control < end))
        end = control;
    return end > here && end - here < 1l << 30 ? end : NULL;
}

static bool is_ours(const void *address) {
    return (char *)address >= __ehdr_start && (char *)address < etext;
}

/* The return addresses above us, our own left out, NULL behind the last. What a caller
 * has in its frame register may be any number: nothing is read that is not stack. */
static __attribute__((noinline)) void stack_walk(void *frames[STACK_MOST]) {
    uintptr_t at = (uintptr_t)__builtin_frame_address(0);
    uintptr_t end = (uintptr_t)stack_end((const char *)at);
    unsigned n = 0;
    while (n < guard.stack && at < end && end - at >= 2 * sizeof(void *) &&
           at % sizeof(void *) == 0) {
        void *const *frame = (void *const *)at;
        if (!frame[1])
            break;
        if (!is_ours(frame[1]))
            frames[n++] = frame[1];
        uintptr_t next = (uintptr_t)frame[0];
        if (next <= at || next - at > FRAME_MOST)
            break;
        at = next;
    }
    if (n < STACK_MOST)
        frames[n] = NULL;
}

/* ── what is mapped ────────────────────────────────────────────────────────── */

struct mapping {
    uintptr_t start, end, offset; /* offset: in the file */
    bool readable, writable, executable, shared;
    char path[200];
};

/* Reads /proc/self/maps line by line. */
struct maps {
    int fd; /* -1: there is none */
    size_t at, length;
    char text[1024];
};

static int maps_byte(struct maps *m) {
    if (m->at == m->length) {
        ssize_t got = read(m->fd, m->text, sizeof m->text);
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
    return (struct maps){.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
}

static void maps_close(struct maps *m) {
    if (m->fd >= 0)
        close(m->fd);
}

static bool mapping_find(uintptr_t address, struct mapping *out) {
    struct maps m = maps_open();
    bool found = false;
    while (!found && maps_next(&m, out))
        found = address >= out->start && address < out->end;
    maps_close(&m);
    return found;
}

/* ── names ─────────────────────────────────────────────────────────────────── */

struct file {
    const char *bytes;
    size_t size;
};

/* `count` things of `each` bytes in the file; NULL where it has no so many. */
static const void *file_part(struct file f, size_t offset, size_t count, size_t each) {
    bool fits = offset <= f.size && count <= (f.size - offset) / (each ? each : 1);
    return fits ? f.bytes + offset : NULL;
}

/* An offset in the file as an address in it; 0 where it is not loaded. */
static uintptr_t file_address(struct file f, const Elf64_Ehdr *head, uintptr_t offset) {
    const Elf64_Phdr *p = file_part(f, head->e_phoff, head->e_phnum, sizeof *p);
    for (unsigned i = 0; p && i < head->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && offset >= p[i].p_offset &&
            offset - p[i].p_offset < p[i].p_filesz)
            return offset - p[i].p_offset + p[i].p_vaddr;
    return 0;
}

/* The function of one symbol table that holds the address; its start in `*start`. */
static const char *symbols_search(struct file f, const Elf64_Shdr *all, const Elf64_Shdr *symbols,
                              unsigned count, uintptr_t address, uintptr_t *start) {
    size_t most = symbols->sh_size / sizeof(Elf64_Sym);
    const Elf64_Sym *s = file_part(f, symbols->sh_offset, most, sizeof *s);
    if (!s || symbols->sh_link >= count)
        return NULL;
    const Elf64_Shdr *strings = &all[symbols->sh_link];
    const char *names = file_part(f, strings->sh_offset, strings->sh_size, 1);
    for (size_t i = 0; names && i < most; i++)
        if (ELF64_ST_TYPE(s[i].st_info) == STT_FUNC && s[i].st_name < strings->sh_size &&
            address >= s[i].st_value && address - s[i].st_value < s[i].st_size)
            return *start = s[i].st_value, names + s[i].st_name;
    return NULL;
}

static const char *file_name(struct file f, uintptr_t offset, uintptr_t *address,
                             uintptr_t *start) {
    const Elf64_Ehdr *head = file_part(f, 0, 1, sizeof *head);
    if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_ident[EI_CLASS] != ELFCLASS64)
        return NULL;
    *address = file_address(f, head, offset);
    const Elf64_Shdr *all = file_part(f, head->e_shoff, head->e_shnum, sizeof *all);
    const char *name = NULL;
    for (unsigned i = 0; all && !name && i < head->e_shnum; i++)
        if (all[i].sh_type == SHT_SYMTAB || all[i].sh_type == SHT_DYNSYM)
            name = symbols_search(f, all, &all[i], head->e_shnum, *address, start);
    return name;
}

/* Does a call end right before this address? (x86-64: E8 with four bytes, FF /2 with
 * none to five.) Bytes of an executable mapping can be read. */
static bool follows_call(const unsigned char *at, const struct mapping *m) {
    if (!m->executable || !m->readable || (uintptr_t)at - m->start < 7)
        return false;
    bool call = at[-5] == 0xe8;
    for (int back = 2; back <= 7; back++)
        call |= at[-back] == 0xff && (at[1 - back] >> 3 & 7) == 2;
    return call;
}

/* A line for one return address: `main+0x2d (/tmp/program+0x1166)`, which is what
 * `addr2line -e /tmp/program 0x1166` wants to hear. False if it is none. */
static bool frame_print(const char *label, const void *frame) {
    struct mapping m;
    char line[400];
    int length;
    if (!mapping_find((uintptr_t)frame, &m))
        return false;
    if (!follows_call(frame, &m))
        return false;
    struct file f = {0};
    f.bytes = m.path[0] == '/' ? os_map_file(m.path, &f.size) : NULL;
    uintptr_t start = 0, address = (uintptr_t)frame - m.start + m.offset;
    const char *name = f.bytes ? file_name(f, address - 1, &address, &start) : NULL;
    if (name)
        length = snprintf(line, sizeof line, "    %-10s %.100s+0x%zx (%s+0x%zx)\n", label, name,
                          address - start, m.path, address);
    else
        length = snprintf(line, sizeof line, "    %-10s %p (%s+0x%zx)\n", label, frame,
                          m.path[0] ? m.path : "no file", address);
    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0) { /* nobody listens */
    }
    if (f.bytes)
        os_unmap((void *)(uintptr_t)f.bytes, f.size);
    return true;
}

/* A stack, the innermost call first, `label` before it. */
static void stack_print(const char *label, void *const frames[STACK_MOST]) {
    for (int i = 0; i < STACK_MOST && frames[i]; i++)
        if (frame_print(label, frames[i]))
            label = "";
}
