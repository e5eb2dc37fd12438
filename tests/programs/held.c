// Leaves blocks live that are held in different ways, or lost, each made by a function of its own.
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define APART __attribute__((noinline))

struct node {
    struct node *next;
    char room[90];
};

struct node *list_head;
static void *volatile table[50];
static __thread void *volatile mine;

static APART void make_list(void) {
    for (int i = 0; i < 100; i++) {
        struct node *p = malloc(sizeof *p);
        p->next = list_head;
        list_head = p;
    }
}

static APART void make_table(void) {
    for (int i = 0; i < 50; i++)
        table[i] = (char *)malloc(64) + 8; // not to its beginning
}

static APART void lose_blocks(void) {
    for (int i = 0; i < 40; i++) {
        volatile struct node *p = malloc(1000);
        p->room[0] = 1;
    }
}

// They point to each other, and nothing else does.
static APART void lose_list(void) {
    struct node *head = NULL;
    for (int i = 0; i < 40; i++) {
        struct node *p = malloc(sizeof *p);
        p->next = head;
        head = p;
    }
}

static APART void keep_in_thread(void) { mine = malloc(333); }

static int told[2];

static void *keep_on_stack(void *nothing) {
    void *volatile p = malloc(444);
    if (write(told[1], "", 1) == 1 && p)
        pause();
    return nothing;
}

int main(void) {
    char byte;
    pthread_t thread;
    lose_blocks();
    lose_list();
    make_list();
    make_table();
    keep_in_thread();
    if (pipe(told) != 0 || pthread_create(&thread, NULL, keep_on_stack, NULL) != 0)
        return 1;
    return read(told[0], &byte, 1) == 1 ? 0 : 1;
}
