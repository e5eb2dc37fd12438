/* Makes a heap in which blocks are on their way from one thread to another, for GDB to tell apart.
 *
 *     gdb-threads     stops in stop_here(), then prints the blocks as `live ADDR` and `remote ADDR`
 *
 * The main thread allocates; one thread frees some of that and stays; one allocates and stays; one
 * allocates and ends. A huge block lives, and a large one was freed.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 300, FREED = 200, OWN = 20 };

static pthread_barrier_t done, over;
static void *block[BLOCKS], *own[2 * OWN];
static void *volatile home, *volatile huge, *volatile kept, *volatile cached; /* for GDB */

void stop_here(void);
__attribute__((noinline)) void stop_here(void) { __asm__ volatile("" ::: "memory"); }

static void *frees(void *arg) {
    (void)arg;
    for (int i = 0; i < FREED; i++)
        free(block[i]);
    pthread_barrier_wait(&done);
    pthread_barrier_wait(&over);
    return NULL;
}

static void *allocates(void *arg) {
    for (int i = 0; i < OWN; i++)
        ((void **)arg)[i] = malloc(1000);
    return NULL;
}

static void *allocates_and_stays(void *arg) {
    allocates(arg);
    pthread_barrier_wait(&done);
    pthread_barrier_wait(&over);
    return NULL;
}

int main(void) {
    pthread_t thread[3];
    pthread_barrier_init(&done, NULL, 3);
    pthread_barrier_init(&over, NULL, 3);
    huge = malloc(48 << 20);
    cached = malloc(200000);
    void *after = malloc(200000); /* so that the one before stays a free run of its own */
    for (int i = 0; i < BLOCKS; i++)
        block[i] = malloc(48);
    pthread_create(&thread[0], NULL, frees, NULL);
    pthread_create(&thread[1], NULL, allocates_and_stays, own);
    pthread_create(&thread[2], NULL, allocates, own + OWN);
    pthread_join(thread[2], NULL);
    pthread_barrier_wait(&done);
    free(cached);
    home = block[FREED - 1];
    kept = own[OWN];
    stop_here();
    for (int i = 0; i < BLOCKS; i++)
        printf("%s %p\n", i < FREED ? "remote" : "live", block[i]);
    for (int i = 0; i < 2 * OWN; i++)
        printf("live %p\n", own[i]);
    pthread_barrier_wait(&over);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    free(huge);
    free(after);
    return 3;
}
