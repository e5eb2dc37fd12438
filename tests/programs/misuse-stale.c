/* Freeing a block that was freed before, whatever has happened in between, ends the
 * program with a line that names the pointer. Prints the pointer first.
 *
 *     misuse-stale [what happened since] [size]
 */
#include "program.h"

enum { MANY = 400 };
static void *blocks[MANY], *block;
static atomic_int step, second_may;

static void await(int wanted) {
    while (atomic_load(&step) < wanted)
        sched_yield();
}

/* Only once: a thread that starts later may be given the block for its own needs. */
static void *free_second(void *arg) {
    while (!atomic_load(&second_may))
        sched_yield();
    free(block);
    return arg;
}

static void *free_block(void *arg) {
    free(block);
    return arg;
}

/* Frees it, and lives on. */
static void *free_and_stay(void *arg) {
    free(block);
    atomic_store(&step, 1);
    await(2);
    return arg;
}

/* Frees so many others that the batch for the owner of `block` has been sent. */
static void *free_all(void *arg) {
    for (int i = 0; i < MANY; i++)
        free(blocks[i]);
    atomic_store(&step, 1);
    await(2);
    return arg;
}

/* One in four stays live, so that no page becomes empty and is used for something else. */
static void *free_most(void *arg) {
    for (int i = 0; i < MANY; i++)
        if (i % 4 || blocks[i] == block)
            free(blocks[i]);
    atomic_store(&step, 1);
    await(2);
    return arg;
}

static void *allocate_block(void *arg) {
    block = must_malloc((size_t)arg);
    return NULL;
}

static void take_many(size_t size) {
    for (int i = 0; i < MANY; i++)
        blocks[i] = must_malloc(size);
    block = blocks[MANY / 2];
}

static void make_stale(const char *how, size_t size) {
    take_many(size);
    if (!strcmp(how, "at once")) {
        free(block);
    } else if (!strcmp(how, "after others")) {
        free(block);
        for (int i = 0; i < MANY; i += 3)
            if (blocks[i] != block)
                free(blocks[i]);
    } else if (!strcmp(how, "with its page")) {
        for (int i = 0; i < MANY; i++)
            free(blocks[i]);
    } else if (!strcmp(how, "and purged")) {
        for (int i = 0; i < MANY; i++)
            free(blocks[i]);
        malloc_trim(0);
    } else if (!strcmp(how, "by another thread that lives")) {
        start(free_and_stay, NULL);
        await(1);
    } else if (!strcmp(how, "by another thread that ended")) {
        join(start(free_block, NULL));
    } else if (!strcmp(how, "and returned")) {
        start(free_all, NULL);
        await(1);
    } else if (!strcmp(how, "and drained")) {
        start(free_most, NULL);
        await(1);
        for (int i = 0; i < 2 * MANY; i++) /* the owner asks for others until a page runs out */
            check(must_malloc(5000) != block, "the block is in use again");
    } else {
        check(false, "unknown: %s", how);
    }
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "at once";
    size_t size = (size_t)argument(argc, argv, 2, 64);
    pthread_t second = start(free_second, NULL);
    bool here = false;
    if (!strcmp(how, "by its owner, then by another thread")) {
        take_many(size);
        free(block);
    } else if (!strcmp(how, "by two other threads")) {
        take_many(size);
        start(free_and_stay, NULL);
        await(1);
    } else if (!strcmp(how, "of a thread that ended")) {
        join(start(allocate_block, (void *)size));
        free(block);
        here = true;
    } else {
        make_stale(how, size);
        here = true;
    }
    say("%p", block);
    if (here)
        free(block);
    atomic_store(&second_may, 1);
    join(second);
    say("survived");
    return 0;
}
