/* A sandbox (seccomp) that allows only system calls for memory and for waiting: any other
 * call kills the process, or fails with EPERM. Threads that have called malloc once before
 * need no other system call, whatever they allocate, free for each other, resize or trim.
 *
 *     life-filter [kill|refuse] [what libc's malloc needs, too?] [rounds]
 */
#include "life.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { THREADS = 3, BLOCKS = 3000 };
static long rounds;
static pthread_barrier_t barrier;
static char *blocks[THREADS][BLOCKS];
static size_t sizes[THREADS][BLOCKS];

static void filter(bool kill, bool libc) {
    int always[] = {SYS_mmap,  SYS_munmap, SYS_mremap,       SYS_madvise,   SYS_mprotect,
                    SYS_futex, SYS_write,  SYS_rt_sigreturn, SYS_exit_group, SYS_clock_gettime};
    int libcs[] = {SYS_brk,   SYS_openat, SYS_read, SYS_close, SYS_sched_getaffinity,
                   SYS_getrandom};
    int count = 0, allowed[32];
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        allowed[count++] = always[i];
    for (size_t i = 0; libc && i < sizeof libcs / sizeof *libcs; i++)
        allowed[count++] = libcs[i];
    struct sock_filter code[80], *at = code;
    *at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    unsigned otherwise = kill ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM;
    *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
    struct sock_fprog program = {(unsigned short)(at - code), code};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs: %s", strerror(errno));
    check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0,
          "seccomp: %s", strerror(errno));
}

static void allocate(long me, uint64_t *random) {
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = sizes[me][i] = 1 + chance_size(random, i % 500 ? 60000 : 40 * MIB);
        char *p = blocks[me][i] = must_malloc(size);
        p[0] = p[size - 1] = (char)i;
        if (i % 5 == 0) {
            size_t larger = size + size / 4 + 1;
            check((p = blocks[me][i] = realloc(p, larger)), "realloc failed");
            sizes[me][i] = larger;
        }
        check(p[0] == (char)i, "a byte is lost");
    }
}

static void *live(void *arg) {
    long me = (long)arg, other = (me + 1) % THREADS;
    uint64_t random = (uint64_t)me + 1;
    free(must_malloc(100));
    pthread_barrier_wait(&barrier); /* every thread has started: main sets the filter */
    pthread_barrier_wait(&barrier);
    for (long i = 0; i < rounds; i++) {
        allocate(me, &random);
        pthread_barrier_wait(&barrier);
        drop(blocks[i % 2 ? me : other], BLOCKS);
        if (me == 0)
            malloc_trim(0);
        pthread_barrier_wait(&barrier);
    }
    for (;;) /* never ends, because libc's thread exit makes other system calls */
        pthread_barrier_wait(&barrier);
    return NULL;
}

int main(int argc, char **argv) {
    bool kill = argc < 2 || !strcmp(argv[1], "kill"), libc = argument(argc, argv, 2, 0);
    rounds = argument(argc, argv, 3, 6);
    free(must_malloc(100));
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        start(live, (void *)i);
    pthread_barrier_wait(&barrier);
    filter(kill, libc);
    for (long i = 0; i < 2 * rounds + 2; i++)
        pthread_barrier_wait(&barrier);
    _exit(0);
}
