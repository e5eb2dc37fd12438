/* An attacker who knows no secret overwrites a free block with a copy: of what it held
 * when it was free before (`replayed`), of another free block (`copied`), or exchanges
 * the content of two. malloc never hands out a live block: it ends the program, or the
 * copy has no effect.
 *
 *     life-replayed [bytes of a block] [bytes that are copied at most]
 */
#include "forged.h"

enum { COUNT = 64, ROUNDS = 600, MOST = 64 };
static size_t size, bytes;
static bool by_another;

static void *free_it(void *p) {
    free(p);
    return NULL;
}

static void release(char *p) {
    if (!by_another)
        return let_go(p);
    for (size_t i = 0; i < lives; i++)
        if (live[i] == p) {
            live[i] = live[--lives];
            return join(start(free_it, p));
        }
}

static void begin(void) {
    for (int i = 0; i < COUNT; i++)
        hold(malloc(size), size);
}

static void go_on(void) {
    for (int i = 0; i < ROUNDS; i++)
        hold(malloc(size), size);
    while (lives)
        let_go(live[lives - 1]);
}

/* `a` linked to `b` while both were free. Now `b` is live: the program writes to it,
 * and `a` is free once more. */
static void replay(void) {
    begin();
    char *a = live[30], *b = live[31], old_a[MOST], old_b[MOST];
    release(b);
    release(a);
    memcpy(old_a, a, bytes);
    memcpy(old_b, b, bytes);
    bool has_a = false, has_b = false;
    for (int i = 0; i < ROUNDS && !(has_a && has_b); i++) {
        char *p = malloc(size);
        hold(p, size);
        has_a |= p == a;
        has_b |= p == b;
    }
    if (!has_a || !has_b)
        _exit(UNFIT);
    release(a);
    memcpy(a, old_a, bytes);
    memcpy(b, old_b, bytes);
    go_on();
}

static void copy(void) {
    begin();
    char *a = live[30], *b = live[33], *c = live[36];
    release(a);
    release(b);
    release(c);
    memcpy(c, b, bytes);
    go_on();
}

static void exchange(void) {
    begin();
    char *a = live[30], *b = live[33], *c = live[36], kept[MOST];
    release(a);
    release(b);
    release(c);
    memcpy(kept, c, bytes);
    memcpy(c, a, bytes);
    memcpy(a, kept, bytes);
    go_on();
}

int main(int argc, char **argv) {
    size = (size_t)argument(argc, argv, 1, 64);
    size_t most = (size_t)argument(argc, argv, 2, 16);
    static void (*const runs[])(void) = {replay, copy, exchange};
    static const char *const names[] = {"replayed", "copied", "exchanged"};
    begin_attempts();
    for (bytes = 1; bytes <= most; bytes++)
        for (int i = 0; i < 6; i++) {
            char name[100];
            by_another = i / 3;
            snprintf(name, sizeof name, "%zu bytes %s%s", bytes, names[i % 3],
                     by_another ? ", freed by another thread" : "");
            attempt(runs[i % 3], name);
        }
    tell_attempts(size);
    return 0;
}
