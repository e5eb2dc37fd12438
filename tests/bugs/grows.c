/* A table of answers that are kept for ever: nothing is lost, and memory grows. */
#include <stdio.h>
#include <stdlib.h>

void checkpoint(void);
__attribute__((noinline)) void checkpoint(void) { __asm__ volatile("" ::: "memory"); }

struct answer {
    struct answer *next;
    char text[120];
};

static struct answer *answers[64];

__attribute__((noinline)) static void answer_keep(unsigned question) {
    struct answer *answer = malloc(sizeof *answer);
    snprintf(answer->text, sizeof answer->text, "answer to question %u", question);
    answer->next = answers[question % 64];
    answers[question % 64] = answer;
}

static void serve(unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        char *request = malloc(300);
        snprintf(request, 300, "question %u", i);
        answer_keep(i);
        free(request);
    }
}

int main(void) {
    serve(0, 100);
    checkpoint();
    serve(100, 350);
    checkpoint();
    return 0;
}
