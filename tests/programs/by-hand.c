/* What check finds in other people's mallocs, said once more without anything of check:
 * docs/safety.md has the answers. Each question prints what it saw.
 *
 *     by-hand QUESTION
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static long resident_mib(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*s %ld", &pages) != 1)
        abort();
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE) >> 20;
}

static volatile size_t huge = (size_t)PTRDIFF_MAX + 1, half = (size_t)1 << 32;

static void refusals(void) {
    const char *calls[] = {"malloc", "calloc", "realloc", "memalign", "pvalloc"};
    for (int i = 0; i < 5; i++) {
        void *old = malloc(10);
        errno = 0;
        void *p = i == 0   ? malloc(huge)
                  : i == 1 ? calloc(half, half)
                  : i == 2 ? realloc(old, huge)
                  : i == 3 ? memalign(4096, huge)
                           : pvalloc(SIZE_MAX - 63);
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
    void *volatile q = realloc(malloc(1 << 29), 1 << 30);
    printf(" realloc from 0.5 to 1 GiB, nothing written: %ld MiB\n", resident_mib() - before);
    free(p), free(q);
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

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    const struct {
        const char *name;
        void (*ask)(void);
    } questions[] = {{"refusals", refusals}, {"who", who},         {"alignment", alignment},
                     {"zero", zero},         {"keys", keys},       {"destructors", destructors},
                     {"lazy", lazy},         {"back", back},       {"stack", stack}};
    for (size_t i = 0; argc > 1 && i < sizeof questions / sizeof *questions; i++)
        if (!strcmp(argv[1], questions[i].name))
            return questions[i].ask(), 0;
    if (argc > 1 && !strcmp(argv[1], "ulimit-d"))
        return limit(RLIMIT_DATA, argv[1]), 0;
    if (argc > 1 && !strcmp(argv[1], "ulimit-v"))
        return limit(RLIMIT_AS, argv[1]), 0;
    return fputs("by-hand QUESTION\n", stderr), 2;
}
