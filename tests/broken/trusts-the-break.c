/* exhaustion/break-1: calloc takes new memory from the break for zero, as it usually is. */
#define CALLOC breaking_calloc
#define FREE breaking_free
#define REALLOC breaking_realloc
#define USABLE breaking_usable
#include "base.h"

enum { LEAST = 1000, MOST = 3000, HEADER = 16 };
struct piece {
    struct piece *next;
};
static struct piece *spare;
static char *lowest;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_ours(void *p) { return lowest && (char *)p > lowest && (char *)p < (char *)sbrk(0); }
static struct piece *piece_of(void *p) { return (struct piece *)((char *)p - HEADER); }

static struct piece *new_piece(void) {
    size_t odd = (uintptr_t)sbrk(0) % 16, before = odd ? 16 - odd : 0;
    char *p = sbrk((intptr_t)(before + HEADER + MOST));
    if (p == (char *)-1)
        return NULL;
    if (!lowest)
        lowest = p;
    return (struct piece *)(p + before);
}

void *breaking_calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes < LEAST || bytes > MOST)
        return honest_calloc(count, size);
    pthread_mutex_lock(&lock);
    struct piece *piece = spare;
    if (piece) {
        spare = piece->next;
        memset((char *)piece + HEADER, 0, MOST);
    } else {
        piece = new_piece();
    }
    pthread_mutex_unlock(&lock);
    return piece ? (char *)piece + HEADER : honest_calloc(count, size);
}
void breaking_free(void *p) {
    if (!is_ours(p)) {
        honest_free(p);
        return;
    }
    pthread_mutex_lock(&lock);
    piece_of(p)->next = spare;
    spare = piece_of(p);
    pthread_mutex_unlock(&lock);
}
void *breaking_realloc(void *p, size_t size) {
    if (!is_ours(p) || size > PTRDIFF_MAX)
        return honest_realloc(p, size);
    void *q = size ? honest_malloc(size) : NULL;
    if (q)
        memcpy(q, p, size < MOST ? size : MOST);
    if (q || !size)
        breaking_free(p);
    return q;
}
size_t breaking_usable(void *p) { return is_ours(p) ? MOST : honest_usable_size(p); }
