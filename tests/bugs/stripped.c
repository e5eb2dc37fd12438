/* Worker threads fill rows of a table, the last one a row too many. Built without symbols (-s). */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 3, ROWS = 5 };

struct row {
    char name[24];
    long sum;
};

static struct row *table;

static void *worker(void *arg) {
    size_t number = (size_t)arg;
    for (size_t i = number; i <= ROWS; i += WORKERS) { /* should be < */
        memcpy(table[i].name, "row of a worker thread", 23);
        table[i].sum = (long)(i * i);
    }
    return NULL;
}

int main(void) {
    pthread_t thread[WORKERS];
    table = malloc(ROWS * sizeof *table);
    char *title = strcpy(malloc(160), "all rows");
    for (size_t i = 0; i < WORKERS; i++)
        pthread_create(&thread[i], NULL, worker, (void *)i);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(thread[i], NULL);
    _exit(title[0] != 'a');
}
