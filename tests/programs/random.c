/* Random calls in random order: a shadow heap remembers what every block must hold, and
 * each call is checked against it. What call i does depends on the seed and on i alone,
 * never on what malloc returned, so any part of a sequence can be played as well.
 *
 *     random play SEED CALLS THREADS LARGEST SECONDS   rounds with SEED, SEED + 1, … for so long
 *                                                      of processor time (0: one round)
 *     random list SEED CALLS LARGEST                   prints the calls, makes none
 *     random file FILE                                 makes the calls of such a list
 *
 * Before each round its seed is printed. Threads share a table, the shelf: blocks that one
 * puts there another takes, resizes and frees.
 */
#include "program.h"

enum { SLOTS = 96, SHELF = 32 };
enum kind { MALLOC, CALLOC, ALIGNED, MEMALIGN, REALLOC, FREE, SWAP, KINDS };
static const char *const names[KINDS] = {"malloc",  "calloc", "posix_memalign", "memalign",
                                         "realloc", "free",   "swap"};

struct call {
    enum kind kind;
    size_t slot, size, alignment; /* for a swap `size` is the place on the shelf */
};

struct block {
    unsigned char *p;
    size_t size, usable;
    uint64_t id;
};

static struct block shelf[SHELF];
static pthread_mutex_t shelf_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t seed;
static long calls;
static size_t largest;
static bool without[KINDS]; /* what this malloc lacks */

/* ── which call ────────────────────────────────────────────────────────────── */

static struct call call_number(uint64_t from, long i, size_t most) {
    static const enum kind often[] = {MALLOC, MALLOC,  MALLOC,  CALLOC, ALIGNED, MEMALIGN,
                                      REALLOC, REALLOC, REALLOC, FREE,  FREE,    SWAP};
    uint64_t random = (from * 0x9e3779b97f4a7c15 + (uint64_t)i) * 0xd1342543de82ef95 + 1;
    chance(&random);
    struct call c = {.kind = often[chance_below(&random, sizeof often / sizeof *often)]};
    if ((c.kind == ALIGNED || c.kind == MEMALIGN || c.kind == CALLOC) && without[c.kind])
        c.kind = MALLOC;
    if (c.kind == REALLOC && without[REALLOC])
        c.kind = FREE;
    c.slot = chance_below(&random, SLOTS);
    c.size = c.kind == SWAP ? chance_below(&random, SHELF) : chance_size(&random, most);
    c.alignment = sizeof(void *) << chance_below(&random, chance_below(&random, 8) ? 6 : 14);
    if (c.kind != MALLOC && c.kind != CALLOC && c.kind != SWAP && c.size == 0)
        c.size = 1; /* semantics-zero.c tests what 0 means here */
    return c;
}

static void call_print(struct call c) {
    if (c.kind == FREE)
        printf("%s %zu\n", names[c.kind], c.slot);
    else if (c.kind == ALIGNED || c.kind == MEMALIGN)
        printf("%s %zu %zu %zu\n", names[c.kind], c.slot, c.size, c.alignment);
    else
        printf("%s %zu %zu\n", names[c.kind], c.slot, c.size);
}

/* ── the shadow heap ───────────────────────────────────────────────────────── */

static void block_check(const struct block *b) {
    if (!b->p)
        return;
    check(usable_size(b->p, b->size) == b->usable, "the usable size of %p changed", (void *)b->p);
    check_filled(b->p, b->usable, b->id);
}

static void block_new(struct block *b, void *p, size_t size, size_t alignment, uint64_t id) {
    check(p || size == 0, "no memory for %zu bytes", size);
    check_aligned(p, size);
    check((uintptr_t)p % alignment == 0, "%p (%zu bytes) is not aligned to %zu", p, size,
          alignment);
    *b = (struct block){p, size, usable_size(p, size), id};
    check(b->usable >= size, "%p: %zu usable bytes, asked for %zu", p, b->usable, size);
    fill(p, b->usable, id);
}

static void block_resize(struct block *b, size_t size, uint64_t id) {
    struct block old = *b;
    block_check(&old);
    unsigned char *p = realloc(old.p, size);
    check(p, "realloc to %zu bytes failed", size);
    check_moved(p, old.p, old.size < size ? old.size : size, old.id);
    block_new(b, p, size, 1, id);
}

static void block_free(struct block *b) {
    block_check(b);
    errno = 12345;
    free(b->p);
    check(errno_kept(12345), "free changed errno to %d", errno);
    *b = (struct block){0};
}

static void block_swap(struct block *b, size_t place) {
    pthread_mutex_lock(&shelf_lock);
    struct block other = shelf[place];
    shelf[place] = *b;
    pthread_mutex_unlock(&shelf_lock);
    *b = other;
    block_check(b);
}

static void make(struct call c, struct block *slots, uint64_t id) {
    struct block *b = &slots[c.slot];
    void *p = NULL;
    if (c.kind == SWAP)
        return block_swap(b, c.size);
    if (c.kind == REALLOC && b->p)
        return block_resize(b, c.size, id);
    if (b->p)
        block_free(b);
    if (c.kind == MALLOC)
        block_new(b, malloc(c.size), c.size, 1, id);
    if (c.kind == REALLOC)
        block_new(b, realloc(NULL, c.size), c.size, 1, id);
    if (c.kind == MEMALIGN)
        block_new(b, memalign(c.alignment, c.size), c.size, c.alignment, id);
    if (c.kind == ALIGNED) {
        check(posix_memalign(&p, c.alignment, c.size) == 0, "no memory for %zu bytes", c.size);
        block_new(b, p, c.size, c.alignment, id);
    }
    if (c.kind == CALLOC) {
        p = calloc(1, c.size);
        check(p || c.size == 0, "no memory for %zu bytes", c.size);
        check_zero(p, c.size);
        block_new(b, p, c.size, 1, id);
    }
}

/* ── rounds ────────────────────────────────────────────────────────────────── */

static void *play(void *arg) {
    uint64_t mine = seed + (uint64_t)(uintptr_t)arg * 1000003;
    struct block slots[SLOTS] = {0};
    for (long i = 0; i < calls; i++)
        make(call_number(mine, i, largest), slots, mine * 31 + (uint64_t)i);
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].p)
            block_free(&slots[i]);
    return NULL;
}

static void round_of(long threads) {
    pthread_t ids[64];
    char line[32];
    int length = snprintf(line, sizeof line, "%llu\n", (unsigned long long)seed);
    check(write(STDOUT_FILENO, line, (size_t)length) == length, "cannot print");
    for (long i = 1; i < threads; i++)
        ids[i] = start(play, (void *)i);
    play(NULL);
    for (long i = 1; i < threads; i++)
        join(ids[i]);
    for (int i = 0; i < SHELF; i++)
        if (shelf[i].p)
            block_free(&shelf[i]);
}

static void play_file(const char *path) {
    static struct block slots[SLOTS];
    static char text[1 << 22]; /* stdio would allocate, and so change the heap for the calls */
    char name[20];
    int fd = open(path, O_RDONLY);
    ssize_t got, length = 0;
    while (fd >= 0 && (got = read(fd, text + length, sizeof text - 1 - (size_t)length)) > 0)
        length += got;
    check(length > 0, "cannot read %s", path);
    uint64_t id = 1;
    for (char *line = text; *line; line += strcspn(line, "\n") + 1, id++) {
        struct call c = {.kind = KINDS, .alignment = 1};
        sscanf(line, "%19s %zu %zu %zu", name, &c.slot, &c.size, &c.alignment);
        for (int i = 0; i < KINDS; i++)
            if (!strcmp(name, names[i]))
                c.kind = (enum kind)i;
        check(c.kind != KINDS && c.slot < SLOTS, "no such call in line %d", (int)id);
        make(c, slots, id);
    }
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].p)
            block_free(&slots[i]);
}

int main(int argc, char **argv) {
    check(argc > 2, "random play|list|file …");
    for (int i = 0; i < KINDS; i++)
        without[i] = lacks(names[i]);
    if (!strcmp(argv[1], "file"))
        return play_file(argv[2]), 0;
    seed = strtoull(argv[2], NULL, 10);
    calls = argument(argc, argv, 3, 20000);
    if (!strcmp(argv[1], "list")) {
        for (long i = 0; i < calls; i++)
            call_print(call_number(seed, i, (size_t)argument(argc, argv, 4, 40000)));
        return 0;
    }
    long threads = argument(argc, argv, 4, 1), seconds = argument(argc, argv, 6, 0);
    largest = (size_t)argument(argc, argv, 5, 40000);
    check(threads <= 64, "64 threads at most");
    do {
        round_of(threads);
        seed++;
    } while (clock() < seconds * CLOCKS_PER_SEC);
    return 0;
}
