/* Frees a block that another thread has freed. */
#include <pthread.h>

#include "crime.h"

static void *give(void *block) {
    free(block);
    return NULL;
}

int main(void) {
    void *volatile block = malloc(100);
    pthread_t thread;
    if (pthread_create(&thread, NULL, give, block) == 0)
        pthread_join(thread, NULL);
    free(block);
    return 0;
}
