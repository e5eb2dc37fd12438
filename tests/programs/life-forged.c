/* An attacker reads the first two words of a free block, knows which block they link to,
 * and forges another link: to memory of the program, or to a live block. The program tries
 * several ways in which the words may be computed (a sum, or exclusive or, of an address
 * and a secret, in bytes or in units of 16). malloc never hands out the chosen address: it
 * ends the program, or the forgery has no effect. The secret is learnt from the page of the
 * block that is written to, or from another one.
 *
 *     life-forged [bytes of a block]
 */
#include "forged.h"

enum target { STATIC, MAPPED, LIVE, TARGETS };
enum how { KEPT, SUM, XOR, HOWS };
static const char *const targets[] = {"static memory", "a mapping", "a live block"};
static const char *const hows[] = {"kept", "a sum", "exclusive or"};

static size_t size;
static char statically[1 << 16] __attribute__((aligned(4096)));

/* One attempt. */
static enum target to;
static enum how word[2];
static int scale;
static bool elsewhere;

static uint64_t forge(uint64_t seen, uint64_t linked, uint64_t wanted, enum how how) {
    linked >>= scale;
    wanted >>= scale;
    return how == SUM ? seen - linked + wanted : how == XOR ? seen ^ linked ^ wanted : seen;
}

/* Frees two blocks one right after the other, so that the second one links to the first. */
static char *free_two(size_t at, char **linked) {
    char *first = live[at], *second = live[at + 2];
    let_go(first);
    let_go(second);
    *linked = first;
    return second;
}

static void forge_one(void) {
    size_t count = 40 + (elsewhere ? 140000 / size : 0), rounds = 600 + 70000 / size; /* more than a page */
    count = count < 2000 ? count : 2000;
    rounds = rounds < 2500 ? rounds : 2500;
    for (size_t i = 0; i < count; i++)
        hold(malloc(size), size);
    char *linked, *other, *seen = free_two(8, &linked), *victim = seen;
    uint64_t words[2];
    memcpy(words, seen, sizeof words);
    if (elsewhere)
        victim = free_two(count - 20, &other);
    char *chosen = to == STATIC ? statically + 4096 : live[elsewhere ? count - 30 : 20];
    if (to == MAPPED)
        chosen = (char *)table(1 << 16, 1) + 4096;
    if (to != LIVE) {
        wild = chosen - 4096;
        wild_end = wild + (1 << 16);
    }
    memcpy(chosen, words, sizeof words); /* the target also looks like a free block */
    for (int i = 0; i < 2; i++)
        words[i] = forge(words[i], (uintptr_t)linked, (uintptr_t)chosen, word[i]);
    memcpy(victim, words, sizeof words);
    for (size_t i = 0; i < rounds; i++)
        hold(malloc(size), size);
    while (lives)
        let_go(live[lives - 1]);
}

int main(int argc, char **argv) {
    size = (size_t)argument(argc, argv, 1, 64);
    begin_attempts();
    for (int i = 0; i < TARGETS * HOWS * HOWS * 2 * 2; i++) {
        to = (enum target)(i % TARGETS);
        word[0] = (enum how)(i / TARGETS % HOWS);
        word[1] = (enum how)(i / TARGETS / HOWS % HOWS);
        scale = i / TARGETS / HOWS / HOWS % 2 * 4;
        elsewhere = i / TARGETS / HOWS / HOWS / 2;
        char name[200];
        snprintf(name, sizeof name, "a link to %s (first word %s, second word %s, in units of %d, %s)",
                 targets[to], hows[word[0]], hows[word[1]], 1 << scale,
                 elsewhere ? "learnt in another page" : "learnt in the page");
        attempt(forge_one, name);
    }
    tell_attempts(size);
    return 0;
}
