/* names.h: the function that holds an address, from the symbol tables of a file. Read with system calls
 * alone, because the loader's own function (dladdr) takes its lock.
 */
#pragma once

#include <elf.h>

#include "../base/os.h"

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
