/* A heap on mimalloc with a block in each kind of place, for GDB to show: free lists of a page, blocks that
 * another thread freed in a full page and in one that is not, a large and a huge block, aligned ones, and
 * the pages of a thread that has ended.
 *
 *     gdb-mimalloc            stops in stop_here(), then prints what it knows of its own heap, status 3
 *     gdb-mimalloc stale      the same, after writing to a block that was freed
 *     gdb-mimalloc twice      the same, after freeing a block twice
 *     gdb-mimalloc header     the same, after writing over the header of the heap's first 32 MiB
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 400, FULL = 2000, OWN = 50 };

static void *live[BLOCKS + FULL + 3 * OWN], *gone[BLOCKS], *crossed[BLOCKS];
static int alive, freed, crossings;
static char *volatile victim, *volatile dropped, *volatile remote, *volatile delayed;
static char *volatile large, *volatile huge, *volatile aligned, *volatile orphan;
static char *block[BLOCKS], *full[FULL];
static pthread_barrier_t done, over;

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

static void cross(void *p) { /* freed by a thread that does not own it */
    crossed[crossings++] = p;
    free(p);
}

static void *elsewhere(void *arg) {
    (void)arg;
    for (int i = 0; i < OWN; i++) {
        live[alive++] = malloc(24 + 40 * (size_t)i);
        if (i % 2)
            cross(block[8 * i + 2]);
        if (i % 5 == 0)
            cross(full[i]);
    }
    pthread_barrier_wait(&done);
    pthread_barrier_wait(&over);
    return NULL;
}

static void *ends(void *arg) {
    (void)arg;
    live[alive++] = orphan = strcpy(malloc(3000), "of a thread that has ended");
    return NULL;
}

static int crossed_over(const void *p) {
    for (int i = 0; i < crossings; i++)
        if (crossed[i] == p)
            return 1;
    return 0;
}

int main(int argc, char **argv) {
    const char *mode = argc == 2 ? argv[1] : "";
    pthread_t thread;
    static char printed[65536]; /* written at once */
    setvbuf(stdout, printed, _IOFBF, sizeof printed);
    for (int i = 0; i < BLOCKS; i++)
        block[i] = memset(malloc(i < 200 ? 40 : 16 * (size_t)(i - 190)), 'x', 8);
    for (int i = 0; i < FULL; i++) /* more than a page of them: the first page is full */
        live[alive++] = full[i] = memset(malloc(72), 'y', 8);
    for (int i = 0; i < BLOCKS; i++) {
        if (i % 4 == 1)
            free(gone[freed++] = block[i]);
        else
            live[alive++] = block[i];
    }
    dropped = block[101];
    victim = block[252];
    live[alive++] = large = malloc(300000);
    live[alive++] = huge = malloc(20 << 20);
    live[alive++] = malloc(9500);
    aligned = memalign(4096, 5000); /* lies within the next block */
    pthread_barrier_init(&done, NULL, 2);
    pthread_barrier_init(&over, NULL, 2);
    pthread_create(&thread, NULL, elsewhere, NULL);
    pthread_barrier_wait(&done);
    pthread_create(&thread, NULL, ends, NULL);
    pthread_join(thread, NULL);
    remote = block[10];
    delayed = full[0];
    if (strcmp(mode, "stale") == 0)
        memcpy(dropped, "stale text", 10);
    if (strcmp(mode, "twice") == 0)
        free(dropped);
    if (strcmp(mode, "header") == 0)
        memset((char *)((uintptr_t)victim & ~(uintptr_t)0x1ffffff) + 208, 'h', 16);
    stop_here();
    if (*mode)
        _Exit(3);
    for (int i = 0; i < alive; i++)
        if (!crossed_over(live[i]))
            printf("live %p %zu\n", live[i], malloc_usable_size(live[i]));
    for (int i = 0; i < freed; i++)
        printf("gone %p\n", gone[i]);
    for (int i = 0; i < crossings; i++)
        printf("crossed %p\n", crossed[i]);
    fflush(stdout);
    _Exit(3);
}
