/* Repeats findings of `check` in other people's mallocs without any code of check:
 * docs/safety.md has the answers. Each question prints what it saw.
 *
 *     by-hand QUESTION
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long statm_mib(int column) {
    long pages[2] = {0, 0};
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", pages, pages + 1) != 2)
        abort();
    fclose(f);
    return pages[column] * sysconf(_SC_PAGESIZE) >> 20;
}
static long mapped_mib(void) { return statm_mib(0); }
static long resident_mib(void) { return statm_mib(1); }

static volatile size_t huge = (size_t)PTRDIFF_MAX + 1, half = (size_t)1 << 32;

static void refusals(void) {
    const char *calls[] = {"malloc", "calloc", "realloc", "memalign", "pvalloc", "aligned_alloc"};
    for (int i = 0; i < 6; i++) {
        void *old = malloc(10);
        errno = 0;
        void *p = i == 0   ? malloc(huge)
                  : i == 1 ? calloc(half, half)
                  : i == 2 ? realloc(old, huge)
                  : i == 3 ? memalign(4096, huge)
                  : i == 4 ? pvalloc(SIZE_MAX - 63)
                           : aligned_alloc(64, huge);
        printf("%s: %s, errno %d\n", calls[i], p ? "a block" : "NULL", errno);
    }
}

static void who(void) {
    const char *calls[] = {"malloc", "memalign", "valloc", "pvalloc"};
    for (int i = 0; i < 4; i++) {
        Dl_info info;
        if (dladdr(dlsym(RTLD_DEFAULT, calls[i]), &info))
            printf("%s: %s\n", calls[i], strrchr(info.dli_fname, '/') + 1);
    }
}

static void alignment(void) {
    int wrong = 0, all = 0;
    for (size_t of = 128; of <= 1024; of *= 2)
        for (size_t i = 0; i < 80; i++, all++) {
            size_t size = (i / 20 + 1) * of;
            void *p = memalign(of, size), *q = memalign(of, size);
            wrong += (uintptr_t)p % of != 0 || (uintptr_t)q % of != 0;
            free(q);
            free(realloc(p, 2 * size + 1));
        }
    printf("%d of %d pairs of aligned blocks are not aligned\n", wrong, all);
    printf("memalign(32 MiB, 1) is %s\n", memalign(32 << 20, 1) ? "a block" : "NULL");
}

static void zero(void) {
    void *p = malloc(10), *volatile q = realloc(p, 0);
    printf("realloc(p, 0) is %s\n", q ? "a block" : "NULL");
}

static void keys(void) {
    pthread_key_t key;
    int n = 0;
    free(malloc(1));
    while (pthread_key_create(&key, NULL) == 0)
        n++;
    printf("%d keys\n", n);
}

static pthread_key_t key;
static void destroy(void *p) {
    static _Thread_local int times;
    free(calloc(1, 20000));
    p = realloc(p, 40000);
    if (++times < 4)
        pthread_setspecific(key, p);
    else
        free(p);
}
static void *last_words(void *arg) {
    pthread_setspecific(key, memset(malloc(20000), 1, 20000));
    return arg;
}
static void *nothing(void *arg) { return arg; }

static void destructors(void) {
    pthread_key_create(&key, destroy);
    long before = resident_mib();
    for (int i = 0; i < 1000; i++) {
        pthread_t t;
        pthread_create(&t, NULL, last_words, NULL);
        pthread_join(t, NULL);
    }
    printf("1,000 threads whose destructors allocate left %ld MiB\n", resident_mib() - before);
}

static void lazy(void) {
    long before = resident_mib();
    void *volatile p = calloc(1, 1 << 30);
    printf("calloc of 1 GiB touched %ld MiB,", resident_mib() - before);
    before = resident_mib();
    void *small = malloc(1 << 29), *in_the_way = malloc(1 << 28), *volatile q = realloc(small, 1 << 30);
    printf(" realloc from 0.5 to 1 GiB, nothing written: %ld MiB\n", resident_mib() - before);
    free(p), free(q), free(in_the_way);
}

static void back(void) {
    enum { N = 100000 };
    static void *p[N];
    long before = resident_mib();
    for (int i = 0; i < N; i++)
        memset(p[i] = malloc(700), 1, 700);
    long with = resident_mib();
    for (int i = 0; i < N; i++)
        free(p[i]);
    malloc_trim(0);
    printf("%ld MiB in blocks of 700 bytes; all freed and trimmed: %ld MiB\n", with - before,
           resident_mib() - before);
}

static void merge(void) {
    enum { N = 500000, SMALL = 112, LARGE = 60000 };
    static char *p[N];
    for (int i = 0; i < N; i++)
        memset(p[i] = malloc(SMALL), 1, SMALL);
    long with = resident_mib();
    for (int i = 0; i < N; i++)
        free(p[i]);
    malloc_trim(0);
    for (int i = 0; i < N * (long)SMALL / LARGE; i++)
        memset(p[i] = malloc(LARGE), 1, LARGE);
    printf("%ld MiB with small blocks; freed, trimmed, as much in large ones: %ld MiB\n", with,
           resident_mib());
}

static void limit(int resource, const char *name) {
    struct rlimit to = {(rlim_t)(resource == RLIMIT_AS ? 256 : 32) << 20, RLIM_INFINITY};
    if (!getenv("LIMITED")) { /* as ulimit does: before the program starts */
        setenv("LIMITED", "1", 1);
        setrlimit(resource, &to);
        execl("/proc/self/exe", "by-hand", name, NULL);
    }
    enum { MOST = 100000 };
    static void *p[MOST];
    int n[2] = {0, 0};
    for (int round = 0; round < 2; round++) {
        while (n[round] < MOST && (p[n[round]] = malloc(5000)))
            memset(p[n[round]++], 1, 5000);
        for (int i = 0; i < n[round]; i++)
            free(p[i]);
    }
    printf("%d blocks of 5,000 bytes until NULL; all freed, then %d\n", n[0], n[1]);
}

static void stack(void) {
    pthread_attr_t least;
    pthread_attr_init(&least);
    pthread_attr_setstacksize(&least, (size_t)PTHREAD_STACK_MIN);
    pthread_t t;
    printf("a thread with the least stack: %s\n",
           strerror(pthread_create(&t, &least, nothing, NULL)));
}

/* Frees blocks while the process has as many mappings as it may have, so that no part of a mapping
 * can be unmapped. Once there is room again, the mapped memory should shrink to what it was. The
 * first line is a run without that pressure: what this malloc keeps anyway. */
static void mappings(void) {
    enum { N = 400, SIZE = 200000 };
    static char *p[N];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), length = 200000 * page;
    for (int pressed = 0; pressed < 2; pressed++) {
        long before = mapped_mib();
        printf("%s mappings:", pressed ? "too many" : "few");
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < N; i++)
                p[i] = malloc(SIZE);
            char *area = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            for (char *q = area; pressed && q < area + length; q += 2 * page)
                if (mprotect(q, page, PROT_READ))
                    break;
            for (int i = 0; i < N; i++)
                free(p[(i * 7) % N]);
            munmap(area, length);
            malloc_trim(0);
            printf(" %ld", mapped_mib() - before);
        }
        printf(" MiB more after each of five rounds\n");
    }
}

/* From here on the kernel refuses all memory. */
static void end_of_memory(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        perror("seccomp"), exit(2);
}

static void no_mmap(void) {
    for (int warm = 0; warm < 2; warm++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            if (warm)
                free(malloc(1));
            end_of_memory();
            void *volatile p = malloc(10 << 20);
            printf("mmap fails %s: %s, errno %d\n", warm ? "later" : "from the start",
                   p ? "a block" : "NULL", p ? 0 : errno);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status))
            printf("mmap fails %s: %s\n", warm ? "later" : "from the start",
                   strsignal(WTERMSIG(status)));
    }
}

/* A few calls of all sizes, to be run while strace makes single system calls fail that follow the
 * line which this writes first: strace -e inject=mmap:error=ENOMEM:when=... */
static void calls(void) {
    int refused = 0, changed = 0;
    write(1, "begins\n", 7);
    for (int i = 0; i < 600; i++) {
        size_t size = (size_t)1 << i % 24;
        char *p = malloc(size);
        refused += !p;
        if (p)
            memset(p, 1, size);
        errno = 0;
        if (i % 3)
            free(p);
        changed += errno != 0;
    }
    printf("600 calls: %d refused, errno changed by %d frees\n", refused, changed);
}

static void *frees(void *arg) {
    unsigned state = (unsigned)(uintptr_t)&state;
    for (int i = 0; i < 100000; i++) {
        state = state * 1103515245 + 12345;
        void *p = malloc((size_t)1 << state / 65536 % 19);
        errno = 0;
        free(p);
        if (errno)
            return (void *)(intptr_t)errno;
    }
    return arg;
}

static void errnos(void) {
    pthread_t t[4];
    void *seen[4];
    for (int i = 0; i < 4; i++)
        pthread_create(t + i, NULL, frees, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], seen + i);
    printf("free in four threads leaves errno at");
    for (int i = 0; i < 4; i++)
        printf(" %d", (int)(intptr_t)seen[i]);
    printf("\n");
}

static void allocates(void) { free(malloc(100)); }

/* fork runs prepare handlers from the last registered to the first, so one that was registered
 * before malloc's own finds malloc locked. */
static void atfork(void) {
    for (int late = 0; late < 2; late++) {
        pid_t forks = fork();
        if (forks == 0) {
            alarm(5);
            if (late)
                free(malloc(1));
            pthread_atfork(allocates, allocates, allocates);
            free(malloc(1));
            fork();
            _exit(0);
        }
        int status;
        waitpid(forks, &status, 0);
        printf("a handler registered %s the first malloc: %s\n", late ? "after" : "before",
               WIFSIGNALED(status) ? "fork hangs" : "fork works");
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    const struct {
        const char *name;
        void (*ask)(void);
    } questions[] = {{"refusals", refusals}, {"who", who},         {"alignment", alignment},
                     {"zero", zero},         {"keys", keys},       {"destructors", destructors},
                     {"lazy", lazy},         {"back", back},       {"stack", stack},
                     {"mappings", mappings}, {"no-mmap", no_mmap}, {"atfork", atfork},
                     {"calls", calls},       {"errno", errnos},     {"merge", merge}};
    for (size_t i = 0; argc > 1 && i < sizeof questions / sizeof *questions; i++)
        if (!strcmp(argv[1], questions[i].name))
            return questions[i].ask(), 0;
    if (argc > 1 && !strcmp(argv[1], "ulimit-d"))
        return limit(RLIMIT_DATA, argv[1]), 0;
    if (argc > 1 && !strcmp(argv[1], "ulimit-v"))
        return limit(RLIMIT_AS, argv[1]), 0;
    return fputs("by-hand QUESTION\n", stderr), 2;
}
