/* Any system call for memory may fail, and malloc still keeps its promise: it returns NULL
 * with ENOMEM or a block, never crashes, and never hands out a live block. Once the system
 * provides memory again, so does malloc.
 *
 *     exhaustion-calls once N      in the i-th of N children the i-th call fails; no more
 *                                  children than there are calls
 *     exhaustion-calls every N     in the i-th, every i-th call
 *
 * A seccomp filter turns each such call into a signal, and the handler decides: it makes
 * the call itself, from the one place that the filter lets through, or says ENOMEM.
 *
 *     malloc ── mmap ──> filter: from `gate`? ── yes ──> the kernel
 *                           │ no                           ▲
 *                           └── SIGSYS ──> handler: fail? ─┘ no, through `gate`
 */
#include "program.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { LIVE = 120, LARGEST = 300000 };
static volatile long seen, fail_at, fail_each;

/* A system call from a known place: the filter compares the address behind it. */
long gate(long number, long a, long b, long c, long d, long e, long f);
extern char gate_end[];
__asm__(".globl gate, gate_end\n"
        "gate: mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n"
        " mov %r8, %r10\n mov %r9, %r8\n mov 8(%rsp), %r9\n syscall\n"
        "gate_end: ret\n");

static void refuse_or_pass(int signal, siginfo_t *info, void *context) {
    (void)signal;
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    long n = ++seen;
    if (n == fail_at || (fail_each && n % fail_each == 0)) /* a brk that fails returns the break */
        r[REG_RAX] = info->si_syscall == SYS_brk ? gate(SYS_brk, 0, 0, 0, 0, 0, 0) : -ENOMEM;
    else
        r[REG_RAX] = gate(info->si_syscall, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10],
                          r[REG_R8], r[REG_R9]);
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define TRAP_IF(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), \
                    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)

static void filter_calls(void) {
    sigaction(SIGSYS, &(struct sigaction){.sa_sigaction = refuse_or_pass,
                                          .sa_flags = SA_SIGINFO | SA_NODEFER}, NULL);
    struct sock_filter code[] = {
        LOAD(instruction_pointer),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(uintptr_t)gate_end, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        LOAD(nr),
        TRAP_IF(SYS_mmap), TRAP_IF(SYS_mremap), TRAP_IF(SYS_brk), TRAP_IF(SYS_mprotect),
        TRAP_IF(SYS_madvise), TRAP_IF(SYS_munmap),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "prctl: %s", strerror(errno));
    check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp: errno %d", errno);
}

static struct {
    unsigned char *p;
    size_t size;
} blocks[LIVE];
static long refusals;

static void *give_up(void *p, const char *call, size_t size) {
    check(p || says_enomem(), "%s(%zu) failed with errno %d, not ENOMEM", call, size, errno);
    refusals += !p;
    return p;
}

static void step(uint64_t *random) {
    size_t i = chance_below(random, LIVE), size = chance_size(random, LARGEST) + 1;
    size_t old = blocks[i].size;
    unsigned char *p = blocks[i].p;
    if (p)
        check_filled(p, old, i);
    if (p && chance_below(random, 2)) {
        unsigned char *q = give_up(realloc(p, size), "realloc", size);
        if (!q) {
            check_filled(p, old, i); /* a refused realloc leaves the block alone */
            return;
        }
        check_moved(q, p, size < old ? size : old, i);
        blocks[i].p = q;
    } else {
        errno = 12345;
        free(p);
        check(errno_kept(12345), "free changed errno to %d", errno);
        bool zero = chance_below(random, 3) == 0;
        p = give_up(zero ? calloc(1, size) : malloc(size), zero ? "calloc" : "malloc", size);
        if (p && zero)
            check_zero(p, size);
        blocks[i].p = p;
    }
    blocks[i].size = size;
    if (blocks[i].p)
        fill(blocks[i].p, size, i);
}

/* How many calls the child made while they could fail. */
static long *made;

/* In a child: work under refusals, then without any. */
static void work(void) {
    uint64_t random = 1;
    filter_calls();
    for (int i = 0; i < 600; i++)
        step(&random);
    fail_at = fail_each = 0;
    *made = seen;
    long before = refusals;
    for (int i = 0; i < 300; i++)
        step(&random);
    check(refusals == before, "the system gives memory again, and malloc does not");
    for (size_t i = 0; i < LIVE; i++)
        free(blocks[i].p);
}

int main(int argc, char **argv) {
    bool every = argc > 1 && strcmp(argv[1], "every") == 0;
    long rounds = argument(argc, argv, 2, 100);
    made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(made != MAP_FAILED, "mmap: %s", strerror(errno));
    long most = 1; /* calls in any child */
    for (long i = 1; i <= rounds && (every || i <= most); i++) {
        pid_t child = fork();
        if (child == 0) {
            die_after(60);
            fail_at = every ? 0 : i;
            fail_each = every ? i + 1 : 0;
            work();
            _exit(0);
        }
        char what[64];
        snprintf(what, sizeof what, every ? "every %ld. call failed" : "call %ld failed",
                 every ? i + 1 : i);
        check_child(child, what);
        most = *made > most ? *made : most;
    }
    return 0;
}
