/* The kernel refuses to take memory back: munmap and madvise fail, as they do with too many
 * mappings or with locked memory. free keeps errno (POSIX.1-2024), whatever the size, and memory
 * that could not be given back does no harm: blocks are unchanged, and malloc works as before.
 *
 *     exhaustion-unmap [blocks of each size] [largest size]
 */
#include "program.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { MOST = 64, ROUNDS = 3 };
static char *blocks[MOST];
static long count;

static void refuse(unsigned error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs: %s", strerror(errno));
    check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp: %s",
          strerror(errno));
}

static void write_edges(long i, size_t size) {
    blocks[i][0] = blocks[i][size - 1] = (char)i;
}

static void build(size_t size, size_t alignment) {
    for (long i = 0; i < count; i++) {
        blocks[i] = alignment ? memalign_if_any(alignment, size) : must_malloc(size);
        check(blocks[i], "memalign(%zu, %zu) failed", alignment, size);
        write_edges(i, size);
    }
}

static void drop(size_t size) {
    for (long i = 0; i < count; i++) {
        check(blocks[i][0] == (char)i && blocks[i][size - 1] == (char)i,
              "a block of %zu bytes was changed", size);
        errno = 12345;
        free(blocks[i]);
        check(errno_kept(12345),
              "free of %zu bytes changed errno to %d when munmap or madvise failed",
              size, errno);
    }
}

static void use(size_t largest) {
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t size = 100; size <= largest; size = size * 9 + 1) {
            build(size, 0);
            drop(size);
            build(size, 8192);
            drop(size);
        }
        errno = 12345;
        malloc_trim(0);
    }
}

int main(int argc, char **argv) {
    const unsigned errors[] = {ENOMEM, EINVAL, EAGAIN};
    size_t largest = (size_t)argument(argc, argv, 2, 8 << 20);
    count = argument(argc, argv, 1, 10);
    check(count <= MOST, "%d blocks at most", MOST);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        pid_t child = fork();
        if (child == 0) {
            die_after(60);
            build(largest / 4, 0); /* blocks from before are affected, too */
            refuse(errors[i]);
            drop(largest / 4);
            use(largest);
            _exit(0);
        }
        int status;
        check(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
        if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
            return 1; /* the child has printed the reason */
        check(WIFEXITED(status) && WEXITSTATUS(status) == 0,
              "a child died of signal %d after munmap and madvise failed (%s)", WTERMSIG(status),
              strerror((int)errors[i]));
    }
    return 0;
}
