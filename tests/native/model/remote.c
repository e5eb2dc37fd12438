/* remote.c: how blocks come back to the thread that owns their page (native/sharded/owner.h), under
 * the model checker. It is the library's own code, compiled into this program.
 *
 *     remote SCENARIO DEVIATIONS [CODE WHAT acquire|release]     without that part of that order
 *
 * Prints how many runs there were, and which atomic operations they came to.
 *
 * free      two threads free blocks of a third one's page, which drains and allocates meanwhile
 * give      the two free all blocks of a page that its owner retires; the last of them gives the page
 *           back (page_release_empty), unless the owner drains it before
 * publish   a thread walks a page that its owner opens
 */
#include "program.h"

#include "model.h"

/* The checker's own mutexes: a coroutine that waits for a real one would stop all of them. */
#define pthread_mutex_lock    model_lock
#define pthread_mutex_trylock model_trylock
#define pthread_mutex_unlock  model_unlock
#define memcpy                model_copy
#define memset                model_fill

#include "under.h"

enum { OWNER, FIRST, SECOND, THREADS, MAIN = 3, SIZE = 32768, BLOCKS = 8 };

/* What each thread has of its own, while another one runs. */
static struct heap *selves[THREADS + 1];

__attribute__((no_sanitize_thread)) void scenario_switch(int from, int to) {
    selves[from] = self;
    self = selves[to];
    self_tag = self->tag;
}

static char *block[BLOCKS];
static struct page *page;
static bool handed_out[BLOCKS];

static int number_of(const char *p) {
    for (int i = 0; i < BLOCKS; i++)
        if (block[i] == p)
            return i;
    return -1;
}

static void give_back(int from, int to) {
    for (int i = from; i < to; i++)
        free(block[i]);
    batches_send(self);
}

/* The owner allocates: blocks that it gets are free ones, and no block comes twice. */
static void allocate(int times) {
    while (times-- > 0) {
        heap_drain(self);
        if (!page->count)
            continue;
        char *p = page_pop(page, page->shift);
        int i = p ? number_of(p) : -1;
        if (i < 0 || handed_out[i])
            model_fault("the owner gets %p", (void *)p);
        handed_out[i] = true;
    }
}

/* All blocks are on the owner's stack or with the owner, each once. */
static void all_are_home(void) {
    bool here[BLOCKS] = {false};
    self = selves[OWNER];
    heap_drain_all(self);
    const uint16_t *place = page_places(page);
    for (size_t i = 0; i < page->count; i++) {
        int n = number_of(page_block(page, place[i]));
        if (n < 0 || here[n] || handed_out[n])
            model_fault("the stack holds block %d", n);
        here[n] = true;
    }
    for (int i = 0; i < 4; i++)
        if (!here[i] && !handed_out[i])
            model_fault("block %d is lost", i);
    if (atomic_load(&page->remote) & 0xffffffff)
        model_fault("the far end is not empty");
    self = selves[MAIN];
}

static void frees(int thread) {
    if (thread == OWNER)
        allocate(2);
    else
        give_back(2 * (thread - 1), 2 * thread);
}

static void gives(int thread) {
    if (thread == OWNER) {
        page_await_frees(page);
        heap_drain(self);
    } else {
        give_back(4 * (thread - 1), 4 * thread);
    }
}

static void nothing_is_kept(void) {
    self = selves[OWNER];
    heap_drain_all(self);
    if (page->kind == PAGE_SMALL && page->owner == self && page->count != page->carved &&
        page_of(block[0]) == page)
        model_fault("%zu of %u blocks came back", page->count, page->carved);
    self = selves[MAIN];
}

/* The walk reads the record's fields only if it reads that they are there. */
static void publishes(int thread) {
    if (thread == OWNER) {
        page_open(page, self, class_index(SIZE / 2));
        return;
    }
    if (page_published(page) == PAGE_SMALL && (page->owner != selves[OWNER] || !page->size))
        model_fault("a page is published before its record");
}

static void whatever(void) {}

/* Not thread_begin: to the mutexes of heaps, all of these are one thread, which has one already. */
static void heap_begin(int thread) {
    struct region *r = region_lock();
    check(near_open(r) && (selves[thread] = heap_make()), "no heap");
    region_unlock(r);
}

/* A page of the owner's without a free block, which is not the current one. */
static void page_fill(void) {
    self_set(selves[OWNER]);
    for (int i = 0; i < BLOCKS; i++)
        block[i] = malloc(SIZE);
    page = page_of(block[0]);
    check(page->capacity == BLOCKS && page->carved == BLOCKS, "a page holds %u", page->capacity);
    for (int i = 0; i < BLOCKS; i++)
        check(page_of(block[i]) == page, "block %d lies elsewhere", i);
    page_retire(self, page);
}

int main(int argc, char **argv) {
    const char *scenario = argc > 1 ? argv[1] : "free";
    int deviations = (int)argument(argc, argv, 2, 3);
    for (int thread = 0; thread <= MAIN; thread++)
        heap_begin(thread);
    page_fill();
    self_set(selves[MAIN]);
    model_ignore(&self, sizeof self);
    model_ignore(&self_tag, sizeof self_tag);
    if (argc > 5)
        model_weaken(argv[3], argv[4], argv[5]);
    long runs;
    if (strcmp(scenario, "free") == 0) {
        page_await_frees(page);
        runs = model_run(THREADS, frees, all_are_home, deviations);
    } else if (strcmp(scenario, "give") == 0) {
        atomic_store(&selves[OWNER]->waiting, WAITING + 1);
        runs = model_run(THREADS, gives, nothing_is_kept, deviations);
    } else {
        page->kind = PAGE_BUSY;
        runs = model_run(2, publishes, whatever, deviations);
    }
    printf("%ld runs\n", runs);
    model_print();
    return 0;
}
