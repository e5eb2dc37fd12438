/* Misuses the heap in one way, and shows what follows. Prints the pointer, then `survived` if
 * the call returned (`refused` if it failed, `absent` if no library defines it), then, after
 * more work with the heap, `fine` or `corrupted: …`. If it prints neither, the misuse ended it
 * later. Like a real program, it continues to use memory that has changed, because the malloc
 * may still notice.
 *
 *     misuse CALL KIND SIZE
 */
#include "program.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);
#pragma weak free_sized
#pragma weak free_aligned_sized

enum { NEIGHBOURS = 8, VICTIM = NEIGHBOURS / 2, OTHERS = 64 };
static char statically[64] __attribute__((aligned(16)));
static char *all[NEIGHBOURS]; /* NULL once they are gone */
static size_t size;           /* of each of them, without slack */

/* ── which pointer ─────────────────────────────────────────────────────────── */

static char *mapping(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    return mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
}

static char *gone(int i) {
    char *p = all[i];
    free(p);
    all[i] = NULL;
    return p;
}

/* Blocks of other sizes come and go, so that the freed block is not the last any more. */
static void others_since(void) {
    void *others[OTHERS];
    for (size_t i = 0; i < OTHERS; i++)
        others[i] = malloc(2 * size + 200 + i * 16);
    for (size_t i = 0; i < OTHERS; i++)
        free(others[i]);
}

static char *behind_the_highest(void) {
    char *p = all[0];
    for (int i = 0; i < NEIGHBOURS; i++)
        p = all[i] > p ? all[i] : p;
    return p + usable_size(p, size);
}

static char *shrunk_away(void) {
    char *p = all[0], *now = realloc(p, 1);
    all[0] = NULL;
    return now == p ? p + size - 16 : p;
}

static void *freed(const char *kind) {
    char *p = gone(VICTIM);
    if (!strcmp(kind, "freed, others since")) {
        gone(VICTIM + 1);
        gone(VICTIM + 2);
        others_since();
    }
    for (int i = 0; !strcmp(kind, "freed with its neighbours") && i < NEIGHBOURS; i++)
        if (all[i])
            gone(i);
    return p;
}

static void *pointer(const char *kind) {
    char *p = all[VICTIM];
    const struct {
        const char *kind;
        void *p;
    } simple[] = {
        {"live", p},
        {"low", (void *)16},
        {"unmapped", (void *)0x123456789000},
        {"beyond user space", (void *)0xffff800000001000},
        {"on the stack", __builtin_frame_address(0)},
        {"static", statically},
        {"interior", p + 16},
        {"in the middle", p + (size / 2 & ~(size_t)15)},
        {"misaligned", p + 1},
        {"8 bytes in", p + 8},
        {"before the block", p - 16},
    };
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++)
        if (!strcmp(kind, simple[i].kind))
            return simple[i].p;
    if (!strcmp(kind, "in somebody's mapping"))
        return mapping() + 65536;
    if (!strcmp(kind, "behind the highest block"))
        return behind_the_highest();
    if (!strcmp(kind, "shrunk away"))
        return shrunk_away();
    check(!strncmp(kind, "freed", 5), "unknown kind: %s", kind);
    return freed(kind);
}

/* ── what is done with it ──────────────────────────────────────────────────── */

static const char *refused_if(bool refused) { return refused ? "refused" : "survived"; }

static unsigned char sum;

static const char *touch(const char *call, char *p, const char *kind) {
    if (!strcmp(call, "overflow")) /* KIND is the number of bytes */
        memset(p + size, 0x42, strtoul(kind, NULL, 10));
    for (size_t i = 0; i < size && !strcmp(call, "write"); i++)
        p[i] = 0x42;
    for (size_t i = 0; i < size && !strcmp(call, "read"); i++)
        sum += (unsigned char)p[i];
    return "survived";
}

static const char *commit(const char *call, void *volatile p, const char *kind) {
    size_t alignment = strtoul(kind, NULL, 10);
    if (!strcmp(call, "free"))
        free(p);
    else if (!strcmp(call, "realloc"))
        p = realloc(p, 2 * size);
    else if (!strcmp(call, "reallocarray"))
        p = reallocarray(p, 2, size);
    else if (!strcmp(call, "malloc_usable_size"))
        sum = (unsigned char)malloc_usable_size(p);
    else if (!strcmp(call, "free_sized") && !free_sized)
        return "absent";
    else if (!strcmp(call, "free_sized"))
        free_sized(p, strcmp(kind, "live") ? 1 : 2 * size + 1);
    else if (!strcmp(call, "free_aligned_sized") && !free_aligned_sized)
        return "absent";
    else if (!strcmp(call, "free_aligned_sized"))
        free_aligned_sized(p, 1, 1);
    else if (!strcmp(call, "aligned_alloc"))
        return refused_if(!aligned_alloc(alignment, size));
    else if (!strcmp(call, "posix_memalign"))
        return refused_if(posix_memalign((void **)&p, alignment, size) == EINVAL);
    else
        return touch(call, p, kind);
    if (!strncmp(kind, "live", 4))
        all[VICTIM] = NULL;
    return "survived";
}

/* ── afterwards ────────────────────────────────────────────────────────────── */

static void tell(const char *line) {
    printf("%s\n", line);
    fflush(stdout);
}

static const char *corruption; /* the first that was seen */

static void sound(bool holds, const char *what) {
    if (!holds && !corruption)
        corruption = what;
}

static bool holds_only(const char *p, size_t n, int value) {
    return n == 0 || (p[0] == value && memcmp(p, p + 1, n - 1) == 0);
}

static void neighbours_unchanged(void) {
    for (int i = 0; i < NEIGHBOURS; i++)
        sound(!all[i] || holds_only(all[i], size, 0x41), "corrupted: the block beside it changed");
}

/* Continues like a program: with blocks of this size and of others, full of different bytes. */
static void work(void) {
    static char *blocks[4 * OTHERS];
    for (size_t i = 0; i < 4 * OTHERS; i++) {
        size_t n = i % 4 ? size : size / 2 + i;
        sound((blocks[i] = malloc(n)) != NULL, "corrupted: malloc fails");
        if (blocks[i])
            memset(blocks[i], (int)(i & 63), n);
    }
    for (size_t i = 0; i < 4 * OTHERS; i++)
        sound(!blocks[i] || holds_only(blocks[i], i % 4 ? size : size / 2 + i, (int)(i & 63)),
              "corrupted: one piece of memory was handed out twice");
    neighbours_unchanged();
    for (size_t i = 0; i < 4 * OTHERS; i++)
        free(blocks[i]);
}

static void go_on(void) {
    neighbours_unchanged();
    work();
    for (int i = 0; i < NEIGHBOURS; i++)
        free(all[i]);
    memset(all, 0, sizeof all);
    work();
    tell(corruption ? corruption : "fine");
}

static void goes_round(int signal) {
    (void)signal;
    raise(SIGALRM);
}

/* A malloc that walks a list which became a ring never ends: a limit on processor time shows that,
 * even on a busy machine. A call that waits for ever uses none, so a timer on the clock ends it. */
static void end_hangs(void) {
    die_after(100);
    signal(SIGPROF, goes_round);
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {2, 0}}, NULL);
}

int main(int argc, char **argv) {
    static char out[BUFSIZ];
    check(argc == 4, "misuse CALL KIND SIZE");
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setvbuf(stdout, out, _IOFBF, sizeof out);
    end_hangs();
    void *first = malloc(strtoul(argv[3], NULL, 10));
    size = usable_size(first, strtoul(argv[3], NULL, 10));
    free(first);
    for (int i = 0; i < NEIGHBOURS; i++)
        memset(all[i] = malloc(size), 0x41, size);
    bool without = strchr("0123456789", *argv[2]) && strcmp(argv[2], "8 bytes in");
    void *p = pointer(without ? "live" : argv[2]);
    printf("%p\n", p);
    fflush(stdout);
    const char *how = lacks(argv[1]) ? "absent" : commit(argv[1], p, argv[2]);
    tell(how);
    if (strcmp(how, "absent"))
        go_on();
    return corruption ? 3 : 0;
}
