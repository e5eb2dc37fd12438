/* Two threads drop the last two references at once, without an atomic counter: each sees that there
 * are no others, and both free the message. A barrier makes this happen each time. */
#include <pthread.h>
#include <stdlib.h>

void checkpoint(void);
__attribute__((noinline)) void checkpoint(void) { __asm__ volatile("" ::: "memory"); }

struct message {
    int references;
    char text[200];
};

static struct message *volatile shared;
static pthread_barrier_t met, over;

__attribute__((noinline)) static void message_drop(struct message *message) {
    int left = message->references - 2; /* both have counted before either looks */
    pthread_barrier_wait(&met);
    if (left == 0)
        free(message);
}

static void *consumer(void *arg) {
    message_drop(shared);
    pthread_barrier_wait(&over);
    pthread_barrier_wait(&over);
    return arg;
}

int main(void) {
    pthread_t thread[2];
    pthread_barrier_init(&met, NULL, 2);
    pthread_barrier_init(&over, NULL, 3);
    shared = malloc(sizeof *shared);
    shared->references = 2;
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, consumer, NULL);
    pthread_barrier_wait(&over);
    checkpoint();
    pthread_barrier_wait(&over);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
