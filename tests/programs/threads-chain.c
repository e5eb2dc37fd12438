/* A chain of threads passes blocks on: each stage copies what it gets into a block of its
 * own, of another size now and then, frees the one that it got, and passes the copy on.
 * The contents arrive unchanged, and memory stays bounded however many blocks pass.
 *
 *     threads-chain [stages] [blocks] [largest size] [KiB by which memory may grow]
 */
#include "ring.h"

enum { STAGES = 16 };

struct parcel {
    size_t size;
    long number;
    unsigned char data[];
};

static struct ring rings[STAGES + 1];
static long stages, blocks, largest;

static unsigned char byte(long number, size_t i) {
    return (unsigned char)((size_t)number * 31 + i * 7);
}

static void *stage(void *arg) {
    struct ring *from = arg, *to = from + 1;
    uint64_t random = (uint64_t)(from - rings) + 1;
    for (struct parcel *p; (p = take(from));) {
        size_t extra = chance_below(&random, 64);
        struct parcel *copy = must_malloc(sizeof *copy + p->size + extra);
        memcpy(copy, p, sizeof *p + p->size);
        free(p);
        put(to, copy);
    }
    put(to, NULL);
    return NULL;
}

static void *produce(void *arg) {
    uint64_t random = 99;
    for (long n = 0; n < blocks; n++) {
        size_t size = chance_size(&random, (size_t)largest);
        struct parcel *p = must_malloc(sizeof *p + size);
        *p = (struct parcel){.size = size, .number = n};
        for (size_t i = 0; i < size; i++)
            p->data[i] = byte(n, i);
        put(&rings[0], p);
    }
    put(&rings[0], NULL);
    return arg;
}

int main(int argc, char **argv) {
    stages = argument(argc, argv, 1, 4);
    blocks = argument(argc, argv, 2, 100000);
    largest = argument(argc, argv, 3, 2000);
    long allowed = argument(argc, argv, 4, 8000), early = 0, n = 0;
    check(stages <= STAGES, "%d stages at most", STAGES);
    pthread_t ids[STAGES], producer = start(produce, NULL);
    for (long i = 0; i < stages; i++)
        ids[i] = start(stage, &rings[i]);
    for (struct parcel *p; (p = take(&rings[stages])); n++) {
        check(p->number == n, "block %ld came in place of %ld", p->number, n);
        for (size_t i = 0; i < p->size; i++)
            check(p->data[i] == byte(n, i), "byte %zu of block %ld changed", i, n);
        free(p);
        if (n == blocks / 10)
            early = resident_kib();
    }
    long grown = resident_kib() - early;
    check(n == blocks, "%ld of %ld blocks arrived", n, blocks);
    check(grown <= allowed, "memory grew by %ld KiB over %ld blocks", grown, blocks);
    join(producer);
    for (long i = 0; i < stages; i++)
        join(ids[i]);
    return 0;
}
