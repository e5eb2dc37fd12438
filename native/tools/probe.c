/* probe.c: which library provides malloc in this process?
 *
 * Preloaded behind any malloc, it asks the dynamic linker who answers for malloc,
 * calloc, realloc and free, and leaves the answer in a report (report.h). It
 * allocates nothing, opens no descriptor for longer than a moment, and prints
 * nothing: a program must not notice it. What a process becomes by exec, or starts,
 * is noted beside the reports (report.h): the new program may be one that no
 * preload reaches, and then nobody else can say that it was there.
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

/* As it was at the start: a program may change its environment, and may fork in a
 * signal handler, where nobody can be asked any more. */
static char prefix[REPORT_PATH];
static char provider[REPORT_CALLS][REPORT_PATH];

/* glibc relocates these pointers in place, except in the vDSO, which is read-only. */
static const void *table_of(const struct link_map *object, const ElfW(Dyn) *entry) {
    return (const void *)(entry->d_un.d_ptr + (entry->d_un.d_ptr < object->l_addr ? object->l_addr : 0));
}

/* Does this loaded object define `name`? Looked up in its GNU hash table: four words of
 * header, a Bloom filter, the buckets, and chains whose last member has its low bit set. */
static bool defines(const struct link_map *object, const char *name) {
    const ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    const uint32_t *table = NULL;
    for (const ElfW(Dyn) *entry = object->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB)
            symbols = table_of(object, entry);
        else if (entry->d_tag == DT_STRTAB)
            names = table_of(object, entry);
        else if (entry->d_tag == DT_GNU_HASH)
            table = table_of(object, entry);
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

/* The file that answers calls of `name`. In a program that is not position-independent
 * (Debian's python3, gcc's cc1) the *address* of malloc may be that of a stub in the program
 * itself, an undefined symbol with a value. Calls are bound past it, to the next object
 * that defines the name; so we look there, too. */
static const char *provider_of(const char *name) {
    void *function = dlsym(RTLD_DEFAULT, name);
    void *found = NULL;
    Dl_info info;
    if (!function || !dladdr1(function, &info, &found, RTLD_DL_SYMENT))
        return NULL;
    const ElfW(Sym) *symbol = found;
    if (!symbol || symbol->st_shndx != SHN_UNDEF)
        return info.dli_fname;
    if (!dladdr1(function, &info, &found, RTLD_DL_LINKMAP))
        return NULL;
    const struct link_map *object = found;
    do
        object = object->l_next;
    while (object && !defines(object, name));
    return object ? object->l_name : NULL;
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
    for (int i = 0; i < REPORT_CALLS; i++) {
        const char *file = provider_of(calls[i]);
        if (file)
            strncpy(provider[i], file, REPORT_PATH - 1);
    }
    probe_report();
    pthread_atfork(NULL, NULL, probe_report);
}
