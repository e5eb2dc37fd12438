/* A program's data may look like a free block of the malloc's: it may have been copied
 * from one, byte by byte, at any offset. Freeing, resizing or measuring a live block never
 * ends the program, whatever lies in it.
 *
 *     data-like-free [rounds] [threads]
 */
#include "ring.h"

enum { COUNT = 160, IMAGE = 16, MOST = 8 };
static const size_t sizes[] = {16, 32, 48, 64, 128, 256, 1000, 3000, 20000};
static long rounds;

/* The content of a free block, read after its free. A correct program does not do that,
 * but memory that was copied from a live block may have the same content. */
static void look(const void *freed, unsigned char image[IMAGE]) {
    for (int i = 0; i < IMAGE; i++)
        image[i] = ((const volatile unsigned char *)freed)[i];
}

/* Copies it all over the block, at every offset in turn. */
static void copy_into(unsigned char *block, size_t size, const unsigned char image[IMAGE],
                      size_t offset) {
    for (size_t at = offset % IMAGE; at + IMAGE <= size; at += IMAGE)
        memcpy(block + at, image, IMAGE);
    if (size >= IMAGE)
        memcpy(block, image, IMAGE - offset % IMAGE);
}

/* Suppose the second word of a free block is a link, and the first a function of it.
 * Makes the image of a block with another link, for functions that a malloc might use. */
static void lead_elsewhere(unsigned char image[IMAGE], const void *where, int function) {
    uintptr_t word[2], to = (uintptr_t)where;
    memcpy(word, image, sizeof word);
    word[0] = function == 0   ? word[0] ^ word[1] ^ to
              : function == 1 ? word[0] - word[1] + to
                              : word[0] + word[1] - to;
    word[1] = to;
    memcpy(image, word, sizeof word);
}

static void use_up(unsigned char *block, size_t size, size_t turn) {
    check(malloc_usable_size(block) >= size, "%zu bytes became fewer", size);
    if (turn % 3 == 0)
        check((block = realloc(block, size + size / 2)), "realloc failed");
    free(block);
}

static void round_of(size_t size, uint64_t *random) {
    unsigned char *blocks[COUNT], images[COUNT / 4][IMAGE];
    for (int i = 0; i < COUNT; i++)
        blocks[i] = must_malloc(size);
    for (int i = 0; i < COUNT / 4; i++) { /* a quarter goes, in no order, and is looked at */
        size_t k = chance_below(random, COUNT);
        unsigned char *gone = blocks[k];
        blocks[k] = NULL;
        free(gone);
        gone ? look(gone, images[i]) : memset(images[i], 0, IMAGE);
    }
    for (int i = 0; i < COUNT; i++) {
        unsigned char *image = images[chance_below(random, COUNT / 4)];
        if (!blocks[i])
            continue;
        if (chance_below(random, 2))
            lead_elsewhere(image, blocks[chance_below(random, COUNT)], (int)chance_below(random, 3));
        copy_into(blocks[i], size, image, chance_below(random, 4) ? 0 : chance_below(random, IMAGE));
    }
    for (int i = 0; i < COUNT; i++)
        if (blocks[i])
            use_up(blocks[i], size, chance(random) >> 40);
}

/* ── the same, freed by another thread than the one that wrote ─────────────── */

static struct ring rings[MOST];

/* Writes the image of a free block into blocks that another thread frees at once, while its
 * own free list changes with each call: every link points to a block that it passed on. */
static void *give(void *arg) {
    struct ring *r = arg;
    uint64_t random = (uint64_t)(r - rings) + 5;
    unsigned char image[IMAGE], *given = NULL, *gone;
    for (long i = 0; i < rounds * 2000; i++) {
        size_t size = sizes[chance_below(&random, 6)];
        unsigned char *mine[4], *p;
        for (int k = 0; k < 4; k++)
            mine[k] = must_malloc(size);
        p = must_malloc(size);
        free(gone = mine[0]);
        look(gone, image);
        lead_elsewhere(image, given ? given : p, 0);
        for (int k = 1; k < 4; k++)
            memcpy(mine[k], image, IMAGE);
        lead_elsewhere(image, mine[1], 0);
        memcpy(p, image, IMAGE);
        put(r, given = p);
        for (int k = 1; k < 4; k++)
            free(mine[k]);
    }
    put(r, NULL);
    return NULL;
}

static void *receive(void *arg) {
    for (unsigned char *p; (p = take(arg));)
        free(p);
    return NULL;
}

int main(int argc, char **argv) {
    rounds = argument(argc, argv, 1, 30);
    long threads = argument(argc, argv, 2, 1);
    check(threads <= MOST, "%d threads at most", MOST);
    uint64_t random = 1;
    for (long i = 0; i < rounds; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            round_of(sizes[k], &random);
    pthread_t givers[MOST], receivers[MOST];
    for (long i = 0; i < threads; i++) {
        givers[i] = start(give, &rings[i]);
        receivers[i] = start(receive, &rings[i]);
    }
    for (long i = 0; i < threads; i++) {
        join(givers[i]);
        join(receivers[i]);
    }
    return 0;
}
