/* stack.h: the calls that led here, and their names.
 *
 * unwind.h walks the stack, by unwind tables, and by frame pointers where there are none. We
 * remember bare addresses, and check only before we print one that it is a return address.
 *
 * Names are read from the symbol tables of the mapped files, with system calls alone,
 * because the loader's own function (dladdr) takes its lock.
 */
#pragma once

#include <inttypes.h>
#include <stdio.h>

#include "../base/os.h"
#include "../unwind/unload.h"
#include "finding.h"
#include "records.h"

/* Stores the return addresses of our callers, without our own functions; NULL behind the last. */
static __attribute__((noinline)) void stack_walk(void *frames[STACK_MOST]) {
    uintptr_t addresses[STACK_MOST];
    unsigned n = guard.stack ? unwind_addresses(unwind_here(), addresses, guard.stack) : 0;
    for (unsigned i = 0; i < n; i++)
        frames[i] = (void *)addresses[i];
    if (n < STACK_MOST)
        frames[n] = NULL;
}

/* ── names ─────────────────────────────────────────────────────────────────── */

struct file {
    const char *bytes;
    size_t size;
};

/* `count` things of `each` bytes in the file; NULL if the file is too short. */
static const void *file_part(struct file f, size_t offset, size_t count, size_t each) {
    bool fits = offset <= f.size && count <= (f.size - offset) / (each ? each : 1);
    return fits ? f.bytes + offset : NULL;
}

/* The address that the file gives to an offset in it; 0 if that is not loaded. */
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

/* Does the name of the function that holds this return address begin so? False without a name. */
static bool frame_is(const void *frame, const char *beginning) {
    struct mapping m;
    struct file f = {0};
    uintptr_t start, address;
    if (!frame || !mapping_find((uintptr_t)frame, &m) || m.path[0] != '/' ||
        !(f.bytes = os_map_file(m.path, &f.size)))
        return false;
    const char *name = file_name(f, (uintptr_t)frame - 1 - m.start + m.offset, &address, &start);
    bool is = name && !strncmp(name, beginning, strlen(beginning));
    os_unmap((void *)(uintptr_t)f.bytes, f.size);
    return is;
}

/* Does a call instruction end right before this address? (x86-64: E8 with four bytes, FF /2
 * with none to five.) */
static bool follows_call(const unsigned char *at, const struct mapping *m) {
    if (!m->executable || !m->readable || (uintptr_t)at - m->start < 7)
        return false;
    bool call = at[-5] == 0xe8;
    for (int back = 2; back <= 7; back++)
        call |= at[-back] == 0xff && (at[1 - back] >> 3 & 7) == 2;
    return call;
}

/* Prints a line for one return address: `main+0x2d (/tmp/program+0x1166)`, which
 * `addr2line -e /tmp/program 0x1166` understands. False if it is no return address. */
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
    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0) { /* nothing can be done */
    }
    if (f.bytes)
        os_unmap((void *)(uintptr_t)f.bytes, f.size);
    return true;
}

/* Prints a stack, the innermost call first, with `label` before it. */
static void stack_print(const char *label, void *const frames[STACK_MOST]) {
    char line[32 + STACK_MOST * 20];
    int length = snprintf(line, sizeof line, "%s", label);
    for (int i = 0; i < STACK_MOST && frames[i]; i++)
        if (frame_print(label, frames[i])) {
            label = "";
            length += snprintf(line + length, sizeof line - (size_t)length, " %" PRIxPTR,
                               (uintptr_t)frames[i]);
        }
    line[length++] = '\n';
    finding_write(line, (size_t)length);
}
