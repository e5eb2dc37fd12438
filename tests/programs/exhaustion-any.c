/* Under a limit on the address space (ulimit -v) every single allocation may fail, in
 * every thread, at every place. Those that fail return NULL with ENOMEM and leave their
 * argument unchanged; no block changes; and without the limit, all calls succeed again.
 *
 * The limit is set before the program starts, or while it runs.
 *
 *     exhaustion-any [before|after] [threads] [steps] [MiB of room] [seed]
 */
#include "program.h"
#include "libmalloc.h"
#include <sys/resource.h>

extern int libmalloc_check(void (*)(const char *, void *), void *) __attribute__((weak));

enum { LIVE = 4000, THREADS = 16 };

struct block {
    unsigned char *p, *origin;
    size_t size;
};
static struct block table[THREADS][LIVE];
static long steps, seed;
static pthread_barrier_t all_there; /* a thread needs memory, too, before it begins */
static atomic_long refused, served;

/* Only the ends of a block: the stress is the number of calls. */
static size_t shown(size_t size) {
    return size < 64 ? size : 64;
}

static void refusal(const void *p) {
    check(p || says_enomem(), "refused with errno %d", errno);
    atomic_fetch_add_explicit(p ? &served : &refused, 1, memory_order_relaxed);
}

static void make(struct block *b, uint64_t *random) {
    size_t size = 16 + chance_size(random, chance_below(random, 20) ? 4000 : 400000);
    unsigned char *p;
    errno = 0;
    switch (chance_below(random, 4)) {
    case 0:
        p = calloc(1, size);
        if (p)
            check_zero(p, shown(size));
        break;
    case 1:
        p = memalign_if_any(256, size);
        break;
    default:
        p = malloc(size);
    }
    refusal(p);
    *b = (struct block){p, p, size};
    if (p)
        fill(p, shown(size), (uint64_t)seed);
}

static void resize(struct block *b, uint64_t *random) {
    size_t size = 16 + chance_size(random, chance_below(random, 20) ? 4000 : 400000);
    errno = 0;
    unsigned char *p = realloc(b->p, size);
    refusal(p);
    if (!p)
        return; /* the old one is checked when it is replaced */
    size_t kept = size < b->size ? size : b->size;
    check_moved(p, b->origin, shown(kept), (uint64_t)seed);
    fill(p, shown(size), (uint64_t)seed);
    *b = (struct block){p, p, size};
}

static void release(struct block *b) {
    check_filled(b->p, shown(b->size), (uint64_t)seed);
    errno = 4321;
    free(b->p);
    check(errno == 4321, "free changed errno to %d", errno);
    b->p = NULL;
}

static void *work(void *arg) {
    struct block *mine = arg;
    pthread_barrier_wait(&all_there);
    uint64_t random = (uint64_t)(seed * 1000 + (mine - table[0]) / LIVE) + 1;
    for (long i = 0; i < steps; i++) {
        struct block *b = &mine[chance_below(&random, LIVE)];
        if (!b->p)
            make(b, &random);
        else if (chance_below(&random, 4) == 0)
            resize(b, &random);
        else if (chance_below(&random, 4) == 0)
            release(b);
    }
    return NULL;
}

static void report(const char *line, void *arg) {
    (void)arg;
    check(false, "%s", line);
}

static size_t address_space(void) {
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && read(fd, text, sizeof text - 1) > 0, "cannot read /proc/self/statm");
    close(fd);
    return strtoul(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Sets a limit on the address space. */
static void limit_now(size_t bytes) {
    struct rlimit limit;
    check(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit failed");
    limit.rlim_cur = bytes;
    check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit failed");
}

/* A new process of the same program has the limit from its first instruction on. */
static void limit_before(size_t room, char **argv) {
    struct rlimit limit;
    check(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit failed");
    if (limit.rlim_cur != limit.rlim_max)
        return;
    limit_now(room);
    execv("/proc/self/exe", argv);
    check(false, "exec failed");
}

static void work_all(long threads) {
    pthread_t ids[THREADS];
    pthread_attr_t small; /* the stacks are address space as well */
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_barrier_init(&all_there, NULL, (unsigned)threads);
    for (long i = 0; i < threads; i++)
        check(pthread_create(&ids[i], &small, work, table[i]) == 0, "no thread");
    for (long i = 0; i < threads; i++)
        join(ids[i]);
}

int main(int argc, char **argv) {
    long threads = argument(argc, argv, 2, 3);
    size_t room = (size_t)argument(argc, argv, 4, 24) << 20;
    steps = argument(argc, argv, 3, 100000);
    seed = argument(argc, argv, 5, 1);
    check(threads <= THREADS, "%d threads at most", THREADS);
    if (argc > 1 && strcmp(argv[1], "before") == 0)
        limit_before(room, argv);
    free(must_malloc(100));
    if (argc <= 1 || strcmp(argv[1], "after") == 0)
        limit_now(address_space() + room);
    work_all(threads);
    check(refused > steps / 1000, "only %ld refusals: the limit is too wide", refused);
    check(served > steps / 100, "only %ld blocks served", served);
    check(!libmalloc_check || libmalloc_check(report, NULL) <= 0, "the heap is broken");
    for (long i = 0; i < threads; i++)
        for (long k = 0; k < LIVE; k++)
            if (table[i][k].p)
                release(&table[i][k]);
    size_t again = 0; /* freed memory can be allocated again under the limit */
    while (again < room / 4 && malloc(4000))
        again += 4000;
    check(again >= room / 4, "only %zu bytes could be had again", again);
    limit_now(RLIM_INFINITY);
    char *large = must_malloc(2 * room);
    memset(large, 1, 2 * room);
    free(large);
    check(!libmalloc_check || libmalloc_check(report, NULL) == 0, "the heap is broken");
    return 0;
}
