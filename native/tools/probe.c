/* probe.c: which library provides malloc in this process?
 *
 * Preloaded behind any malloc, it asks the dynamic linker which library provides malloc,
 * calloc, realloc and free, and writes the answer to a report (report.h). It allocates
 * nothing, keeps no descriptor open, and prints nothing: a program must not notice it.
 * Programs that a process becomes by exec, or starts, are noted beside the reports
 * (report.h): a preload may not reach the new program, which then cannot report itself.
 *
 * By hand: cc -O2 -fPIC -shared -o libmalloc-probe.so native/tools/probe.c
 */
#include "../base/report.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const calls[REPORT_CALLS] = {"malloc", "calloc", "realloc", "free"};

/* Copied at the start: a program may change its environment, and may fork in a signal
 * handler, where the dynamic linker must not be called. */
static char prefix[REPORT_PATH];
static char provider[REPORT_CALLS][REPORT_PATH];

/* glibc relocates these pointers in place, unless the section is read-only, as in the vDSO and on
 * riscv64. musl does not change them. */
static const void *table_of(ElfW(Addr) base, const ElfW(Dyn) *entry) {
    return (const void *)(entry->d_un.d_ptr + (entry->d_un.d_ptr < base ? base : 0));
}

static const ElfW(Dyn) *dynamic_of(const struct dl_phdr_info *object) {
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_DYNAMIC)
            return (const void *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
    return NULL;
}

/* Does this loaded object define `name`? Looked up in its GNU hash table: four words of
 * header, a Bloom filter, the buckets, and chains whose last member has its low bit set. */
static bool defines(const struct dl_phdr_info *object, const char *name) {
    const ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    const uint32_t *table = NULL;
    for (const ElfW(Dyn) *entry = dynamic_of(object); entry && entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB)
            symbols = table_of(object->dlpi_addr, entry);
        else if (entry->d_tag == DT_STRTAB)
            names = table_of(object->dlpi_addr, entry);
        else if (entry->d_tag == DT_GNU_HASH)
            table = table_of(object->dlpi_addr, entry);
    }
    if (!symbols || !names || !table || table[0] == 0)
        return false;
    const uint32_t *buckets = table + 4 + table[2] * (sizeof(ElfW(Addr)) / sizeof *table);
    const uint32_t *chains = buckets + table[0];
    uint32_t hash = 5381;
    for (const char *c = name; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    for (uint32_t i = buckets[hash % table[0]]; i >= table[1]; i++) {
        uint32_t entry = chains[i - table[1]];
        if ((entry | 1) == (hash | 1) && symbols[i].st_shndx != SHN_UNDEF &&
            strcmp(names + symbols[i].st_name, name) == 0)
            return true;
        if (entry & 1)
            break;
    }
    return false;
}

/* Tools of ours in front of a malloc pass every call on to it. */
static bool is_tool(const char *file) {
    static const char *const tools[] = {"libmalloc-trace.so", "libmalloc-profile.so", "libmalloc-track.so"};
    const char *name = strrchr(file, '/');
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
        if (strcmp(name ? name + 1 : file, tools[i]) == 0)
            return true;
    return false;
}

/* Notes the file of an object that answers a call which no object before it answers. The dynamic
 * linker binds calls in this very order. (The address of malloc would not tell: in a program that is
 * not position-independent, such as Debian's python3 or gcc's cc1, it may be that of a stub in the
 * program itself.) */
static int provider_note(struct dl_phdr_info *object, size_t size, void *arg) {
    (void)size, (void)arg;
    const char *file = object->dlpi_name;
    Dl_info info;
    if (!*file && dladdr(object->dlpi_phdr, &info)) /* glibc gives the program no name here */
        file = info.dli_fname;
    if (is_tool(file))
        return 0;
    for (int i = 0; i < REPORT_CALLS; i++)
        if (!*provider[i] && defines(object, calls[i]))
            strncpy(provider[i], file, REPORT_PATH - 1);
    return 0;
}

/* A program may have closed its standard streams: the descriptor must not become
 * one of them for as much as a moment, so it is moved beyond them. */
static int open_beyond_stderr(const char *path, int how) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | how, 0600);
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return moved;
}

static struct report *report_open(void) {
    char path[REPORT_PATH + 32];
    if (snprintf(path, sizeof path, "%s.%ld", prefix, (long)getpid()) >= (int)sizeof path)
        return NULL;
    int fd = open_beyond_stderr(path, O_TRUNC);
    if (fd < 0)
        return NULL;
    struct report *r = MAP_FAILED;
    if (ftruncate(fd, sizeof *r) == 0)
        r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return r == MAP_FAILED ? NULL : r;
}

static void report_fill(struct report *r) {
    r->version = REPORT_VERSION;
    r->size = sizeof *r;
    r->pid = (uint32_t)getpid();
    if (readlink("/proc/self/exe", r->executable, REPORT_PATH - 1) < 0)
        strcpy(r->executable, "?"); /* no /proc */
    memcpy(r->provider, provider, sizeof provider);
    memcpy(r->magic, "LMREPORT", sizeof r->magic);
}

/* At the start and in every forked child; errno is the program's. */
static void probe_report(void) {
    int saved = errno;
    struct report *r = report_open();
    if (r) {
        report_fill(r);
        munmap(r, sizeof *r);
    }
    errno = saved;
}

#include "starts.h"

__attribute__((constructor)) static void probe_start(void) {
    const char *wanted = secure_getenv("LIBMALLOC_REPORT");
    if (!wanted || !*wanted || strlen(wanted) >= sizeof prefix)
        return;
    strcpy(prefix, wanted);
    starts_open();
    dl_iterate_phdr(provider_note, NULL);
    probe_report();
    pthread_atfork(NULL, NULL, probe_report);
}
