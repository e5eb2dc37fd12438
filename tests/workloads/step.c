/*
 * step [-l FILE.so] [-n STEPS] -o RESULT PROGRAM ARGUMENT...
 *
 * Counts the instructions that a workload executes in each of its sections (see workload.h), by
 * single steps: between two SIGUSR1 the program is stopped after every instruction, and its
 * program counter is read. Instructions at addresses of the program's own file are counted apart
 * from all others: `outside` is malloc, free and whatever these call, without the workload's loop
 * and without its PLT. Of these, `atomics` are the ones that have the cache line to themselves
 * while they read and write it (x86-64: a LOCK prefix, or XCHG with memory); these slow down
 * threads on other cores.
 *
 * Why not valgrind: it is large and often absent, it runs the long preparation fifty times
 * slower (here only the section is slow), and it runs the program in an environment of its own.
 * Why not the CPU's counters: virtual machines rarely have them. A count of steps is exact, and
 * the same on every run.
 *
 * -n STEPS sends SIGALRM ("enough") after that many steps in one section. RESULT is a line of
 * JSON: {"sections":[{"inside":n,"outside":n,"atomics":n},...]}. The exit status is the program's; 125 is
 * our own failure.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define PC(r) ((r).rip)

/* An instruction begins with prefixes in any order, then perhaps REX, then the opcode. */
static bool is_atomic(const uint8_t *code) {
    static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65};
    while (memchr(prefixes, *code, sizeof prefixes))
        code++;
    if (*code == 0xf0)
        return true;
    if ((*code & 0xf0) == 0x40)
        code++;
    return (*code == 0x86 || *code == 0x87) && code[1] >> 6 != 3;
}
#elif defined(__aarch64__)
#define PC(r) ((r).pc)

static bool is_atomic(const uint8_t *code) { /* not counted there yet */
    (void)code;
    return false;
}
#else
#error "say here where this machine keeps its program counter"
#endif

enum { SECTIONS = 64 };

static struct { uint64_t inside, outside, atomics; } section[SECTIONS];
static int sections;
static uint64_t program_start, program_end;

static void fail(const char *what) {
    fprintf(stderr, "step: %s: %s\n", what, strerror(errno));
    exit(125);
}

/* The address range of the program's own file, from its memory map. */
static void program_find(pid_t pid) {
    char path[64], exe[PATH_MAX], line[PATH_MAX + 128], file[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(path, exe, sizeof exe - 1);
    if (n < 0)
        fail(path);
    exe[n] = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "r");
    if (!maps)
        fail(path);
    while (fgets(line, sizeof line, maps)) {
        uint64_t start, end;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %4095[^\n]", &start, &end, file) != 3 ||
            strcmp(file, exe) != 0)
            continue;
        if (program_start == 0)
            program_start = start;
        program_end = end;
    }
    fclose(maps);
}

static uint64_t pc_read(pid_t pid) {
    struct user_regs_struct registers;
    struct iovec io = {&registers, sizeof registers};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &io) != 0)
        fail("PTRACE_GETREGSET");
    return (uint64_t)PC(registers);
}

/* Eight bytes of code, because compilers write fewer prefixes before a LOCK. Remembers what it has
 * read, because the code does not change, and the next round passes here again. */
static bool atomic_at(pid_t pid, uint64_t pc) {
    static struct { uint64_t pc; bool atomic; } known[4096];
    uint8_t code[sizeof(long) + 8] = {0};
    size_t i = pc % 4096;
    if (known[i].pc == pc)
        return known[i].atomic;
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, pid, (void *)pc, NULL);
    if (errno)
        return false; /* the bytes are not mapped, so the program will crash here */
    memcpy(code, &word, sizeof word);
    known[i].pc = pc;
    return known[i].atomic = is_atomic(code);
}

/* Continues the program, by one step or until its next signal, and delivers `signal`.
   Returns the signal that stopped it, or exits as the program did. */
static int resume(pid_t pid, bool step, int signal) {
    int status;
    if (ptrace(step ? PTRACE_SINGLESTEP : PTRACE_CONT, pid, NULL, (void *)(intptr_t)signal) != 0)
        fail(step ? "PTRACE_SINGLESTEP" : "PTRACE_CONT");
    if (waitpid(pid, &status, 0) != pid)
        fail("waitpid");
    return WIFSTOPPED(status) ? WSTOPSIG(status) : -1 - status;
}

/* Steps through one section, from its first mark to its last. A repeated string instruction stops
 * in each round with the same program counter; it counts once, as the CPU itself would count
 * it. */
static int section_step(pid_t pid, uint64_t limit) {
    uint64_t before = 0, steps = 0;
    int stop = SIGTRAP;
    while (stop == SIGTRAP) {
        uint64_t pc = pc_read(pid);
        if (pc != before) {
            if (pc >= program_start && pc < program_end) {
                section[sections].inside++;
            } else {
                section[sections].outside++;
                section[sections].atomics += atomic_at(pid, pc);
            }
        }
        before = pc;
        stop = resume(pid, true, limit && ++steps == limit ? SIGALRM : 0);
    }
    sections++;
    return stop;
}

static void result_write(const char *path) {
    FILE *out = fopen(path, "w");
    if (!out)
        fail(path);
    fprintf(out, "{\"sections\":[");
    for (int i = 0; i < sections; i++)
        fprintf(out, "%s{\"inside\":%lu,\"outside\":%lu,\"atomics\":%lu}", i ? "," : "",
                section[i].inside, section[i].outside, section[i].atomics);
    fprintf(out, "]}\n");
    if (fclose(out) != 0)
        fail(path);
}

/* Runs both processes on one CPU, because to wake up another CPU for each step is five times as
 * slow. */
static void pin(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void child(const char *library, char **argv) {
    if (library)
        setenv("LD_PRELOAD", library, 1);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        fail("ptrace is refused");
    execvp(argv[0], argv);
    fail(argv[0]);
}

int main(int argc, char **argv) {
    const char *library = NULL, *result = NULL;
    uint64_t limit = 0;
    int c;
    while ((c = getopt(argc, argv, "+l:n:o:")) != -1) {
        if (c == 'l')
            library = optarg;
        else if (c == 'n')
            limit = strtoull(optarg, NULL, 10);
        else if (c == 'o')
            result = optarg;
        else
            return 125;
    }
    if (!result || optind == argc) {
        fprintf(stderr, "usage: step [-l FILE.so] [-n STEPS] -o RESULT PROGRAM ARGUMENT...\n");
        return 125;
    }

    pin();
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0)
        child(library, argv + optind);
    int status;
    if (waitpid(pid, &status, 0) != pid)
        fail("waitpid");
    if (!WIFSTOPPED(status))
        return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_EXITKILL) != 0)
        fail("PTRACE_SETOPTIONS");

    int stop = resume(pid, false, 0);
    while (stop > 0) {
        if (stop == SIGUSR1 && sections < SECTIONS) {
            if (program_end == 0)
                program_find(pid);
            stop = section_step(pid, limit);
            if (stop == SIGUSR1)
                stop = 0;
            if (stop < 0)
                break;
        }
        stop = resume(pid, false, stop);
    }
    status = -1 - stop;
    result_write(result);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
