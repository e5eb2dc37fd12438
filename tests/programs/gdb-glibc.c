/* A heap on glibc's malloc with a chunk in each kind of place, for GDB to show: thread caches, fastbins,
 * unsorted, small and large bins, a second arena, mapped chunks with and without alignment.
 *
 *     gdb-glibc            stops in stop_here(), then prints what it knows of its own heap, status 3
 *     gdb-glibc overflow   the same, after writing 24 bytes over the end of `victim`
 *     gdb-glibc stale      the same, after writing to a block in the thread cache
 *     gdb-glibc null       the same, after writing one zero byte over the end of `victim`
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 400, OWN = 50 };

static void *live[BLOCKS + 3 * OWN], *gone[BLOCKS];
static int alive, freed;
static char *volatile victim, *volatile behind, *volatile cached, *volatile fast, *volatile mapped;
static char *volatile binned, *volatile aligned;
static pthread_barrier_t done, over;

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

static void *elsewhere(void *arg) {
    (void)arg;
    void *own[OWN];
    for (int i = 0; i < OWN; i++)
        own[i] = malloc(24 + 40 * (size_t)i);
    for (int i = 0; i < OWN; i++)
        if (i % 5 == 0)
            free(own[i]);
        else
            live[alive++] = own[i];
    pthread_barrier_wait(&done);
    pthread_barrier_wait(&over);
    return NULL;
}

static void drop(void *p) { /* in an order of its own, so that the lists have one */
    gone[freed++] = p;
    free(p);
}

int main(int argc, char **argv) {
    const char *mode = argc == 2 ? argv[1] : "";
    char *block[BLOCKS];
    pthread_t thread;
    static char printed[32768]; /* written at once */
    setvbuf(stdout, printed, _IOFBF, sizeof printed);
    for (int i = 0; i < BLOCKS; i++)
        block[i] = memset(malloc(i < 200 ? 40 : 16 * (size_t)(i - 190)), 'x', 8);
    for (int i = 0; i < BLOCKS; i++) {
        if (i % 4 == 1)
            drop(block[i]); /* seven into the cache, the rest into fastbins or bins */
        else
            live[alive++] = block[i];
    }
    cached = block[1];
    fast = block[101];
    binned = block[BLOCKS - 3];
    free(malloc(40000)); /* sorts what is unsorted */
    victim = block[250];
    behind = block[251];
    live[alive++] = mapped = malloc(300000);
    live[alive++] = aligned = memalign(4096, 200000);
    pthread_barrier_init(&done, NULL, 2);
    pthread_barrier_init(&over, NULL, 2);
    pthread_create(&thread, NULL, elsewhere, NULL);
    pthread_barrier_wait(&done);
    struct mallinfo2 info = mallinfo2();
    size_t room = malloc_usable_size(victim);
    if (strcmp(mode, "overflow") == 0)
        memcpy(victim + room - 8, "a text that is too long for it", 31);
    if (strcmp(mode, "null") == 0)
        victim[room] = 0;
    if (strcmp(mode, "stale") == 0)
        memcpy(cached, "stale text", 10);
    stop_here();
    if (*mode)
        _Exit(3);
    for (int i = 0; i < alive; i++)
        printf("live %p %zu\n", live[i], malloc_usable_size(live[i]));
    for (int i = 0; i < freed; i++)
        printf("gone %p\n", gone[i]);
    printf("mapped %zu %zu\nfordblks %zu\n", info.hblks, info.hblkhd, info.fordblks);
    printf("main %zu\n", info.arena);
    fflush(stdout);
    _Exit(3);
}
