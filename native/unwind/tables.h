/* tables.h: where are the unwind tables of the code at an address?
 *
 * glibc 2.35 and later answers this with _dl_find_object: without a lock and without allocating,
 * so it may be asked inside malloc and in signal handlers. (dl_iterate_phdr, which unwinders used
 * before, takes the loader's lock: a thread that holds it in dlopen may wait for a lock that the
 * caller of malloc holds.) Where the C library has none, we look for the file in /proc/self/maps
 * and for the table in its header, 0.1 ms or so, once for each address.
 *
 *     the file in memory
 *     ┌────────────┬─────────────────────────────────────────┬──────────────────────────────┐
 *     │ ELF header │ .eh_frame_hdr: start of function, entry │ .eh_frame: an entry for each │
 *     │            │                sorted: binary search    │            function          │
 *     └────────────┴─────────────────────────────────────────┴──────────────────────────────┘
 */
#pragma once

#include <elf.h>
#include <errno.h>

#include "maps.h"
#include "rules.h"

/* struct dl_find_object of glibc, whose headers may be older. */
struct code_object {
    unsigned long long flags;
    void *start, *end, *link_map, *tables;
    unsigned long long reserved[7];
};
extern int code_find(void *, struct code_object *) __asm__("_dl_find_object") __attribute__((weak));

/* The tables of a file whose first bytes are mapped at `base`. */
static const uint8_t *tables_of_file(uintptr_t base) {
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)base;
    const uint8_t *tables = NULL;
    uintptr_t bias = base;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_phentsize != sizeof(Elf64_Phdr))
        return NULL;
    const Elf64_Phdr *p = (const Elf64_Phdr *)(base + head->e_phoff);
    for (unsigned i = 0; i < head->e_phnum && head->e_phoff + (i + 1) * sizeof *p < 4096; i++)
        if (p[i].p_type == PT_LOAD && p[i].p_offset == 0)
            bias = base - p[i].p_vaddr;
        else if (p[i].p_type == PT_GNU_EH_FRAME)
            tables = (const uint8_t *)(bias + p[i].p_vaddr);
    return tables;
}

/* What the code at an address is. */
enum code { CODE_NONE, CODE_OF_FILE, CODE_AT_RUN_TIME };

/* Slow: only for addresses that the C library does not know. */
static enum code code_search(uintptr_t address, const uint8_t **tables) {
    struct mapping m, head = {0};
    struct maps maps = maps_open();
    enum code found = CODE_NONE;
    while (found == CODE_NONE && maps_next(&maps, &m) && m.start <= address) {
        if (m.offset == 0 && m.readable && m.path[0] == '/')
            head = m;
        if (address < m.end && m.executable)
            found = m.path[0] == '/' ? CODE_OF_FILE : CODE_AT_RUN_TIME;
    }
    maps_close(&maps);
    if (found == CODE_OF_FILE && !strcmp(head.path, m.path))
        *tables = tables_of_file(head.start);
    return found;
}

/* Code made at run time lies in few stretches of memory: those found last. Two words that do not
 * belong together, while another thread writes, only make a frame look like code or not. */
enum { STRETCHES = 64, STRETCH = 1 << 16 };
static uintptr_t stretches[STRETCHES];

static bool stretch_known(uintptr_t address) {
    return stretches[address / STRETCH % STRETCHES] == address / STRETCH;
}

static enum code code_at(uintptr_t address, const uint8_t **tables) {
    struct code_object object;
    *tables = NULL;
    if (code_find && code_find((void *)address, &object) == 0) {
        *tables = object.tables;
        return CODE_OF_FILE;
    }
    if (stretch_known(address))
        return CODE_AT_RUN_TIME;
    enum code code = code_search(address, tables);
    if (code == CODE_AT_RUN_TIME)
        stretches[address / STRETCH % STRETCHES] = address / STRETCH;
    return code;
}

/* .eh_frame_hdr: the entry of the last function that begins at the address or before it. */
static const uint8_t *entry_find(const uint8_t *tables, uintptr_t address) {
    enum { SORTED = 0x3b }; /* DW_EH_PE_datarel | DW_EH_PE_sdata4, as all linkers write it */
    struct bytes b = {tables + 4, tables + 4 + 32};
    if (tables[0] != 1 || tables[3] != SORTED)
        return NULL;
    bytes_pointer(&b, tables[1], (uintptr_t)tables);
    size_t count = bytes_pointer(&b, tables[2], (uintptr_t)tables);
    const int32_t(*rows)[2] = (const int32_t(*)[2])(const void *)b.at;
    intptr_t offset = (intptr_t)(address - (uintptr_t)tables);
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows[middle][0] <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? tables + rows[low - 1][1] : NULL;
}

/* The rule for an address in the code, of any kind. */
static __attribute__((cold, noinline)) struct rule rule_find(uintptr_t address) {
    const uint8_t *tables;
    int saved = errno;
    enum code code = code_at(address, &tables);
    const uint8_t *entry = tables ? entry_find(tables, address) : NULL;
    struct rule rule = entry ? rule_of_entry(entry, address) : (struct rule){.kind = RULE_NONE};
    errno = saved;
    if (rule.kind == RULE_NONE && code != CODE_NONE)
        rule = (struct rule){.kind = RULE_CHAIN, .cfa = 16, .pc = -1, .fp = -2,
                             .fp_at = RULE_AT_CFA, .jit = code == CODE_AT_RUN_TIME};
    return rule;
}
