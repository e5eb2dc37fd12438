/* Follows a pointer in a block that was freed. */
#include "crime.h"

struct node {
    struct node *next, *prev;
};

int main(void) {
    struct node *volatile node = calloc(3, sizeof *node);
    free(node);
    struct node *volatile next = node[2].next;
    if (next)
        printf("%p\n", (void *)next->next);
    return 0;
}
