/* An attacker reads free blocks of two pages and works out the secret of a third one,
 * where a link is forged. The guesses are: the same secret in every page, one that grows
 * or changes with the page's number, and a secret of the whole heap that is mixed with the
 * page's number by a function that can be inverted (Stafford's mix, of which 46 bits are
 * seen). Malloc never hands out the chosen address.
 *
 *     life-leaked [bytes of a block]
 */
#include "forged.h"

enum { COUNT = 30000, ROUNDS = 6000, AROUND = 2000, PAGE_BITS = 16 };
enum form { SUM_OF_WORDS, SUM_FIRST, XOR_FIRST, SUM_SECOND, XOR_SECOND, FORMS };
enum guess { SAME, LINEAR, XORED, MIXED, GUESSES };
static const char *const guesses[] = {"the same", "linear", "exclusive or", "mixed"};

static size_t size;
static enum form form;
static enum guess guess;
static char *blocks[COUNT];
static char statically[1 << 16] __attribute__((aligned(4096)));

static uint64_t number(const void *p) { return (uintptr_t)p >> PAGE_BITS; }

/* The secret that a free block reveals if the block that it links to is known. */
static uint64_t secret_in(const char *p, const char *linked) {
    uint64_t w[2], next = (uintptr_t)linked;
    memcpy(w, p, sizeof w);
    uint64_t seen[] = {w[0] - w[1], w[0] - next, w[0] ^ next, w[1] - next, w[1] ^ next};
    return seen[form];
}

static void write_link(char *p, const char *to, uint64_t secret) {
    uint64_t w[2], next = (uintptr_t)to;
    memcpy(w, p, sizeof w);
    w[form >= SUM_SECOND] = form == XOR_FIRST || form == XOR_SECOND ? next ^ secret : next + secret;
    if (form == SUM_OF_WORDS)
        w[1] = next;
    memcpy(p, w, sizeof w);
}

/* ── the mix and its inverse ───────────────────────────────────────────────── */

static const uint64_t factors[] = {0xbf58476d1ce4e5b9, 0x94d049bb133111eb};

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * factors[0];
    x = (x ^ x >> 27) * factors[1];
    return x ^ x >> 31;
}

static uint64_t divided(uint64_t x, uint64_t odd) {
    uint64_t inverse = odd;
    for (int i = 0; i < 6; i++) /* Newton: twice as many bits are right each time */
        inverse *= 2 - odd * inverse;
    return x * inverse;
}

static uint64_t unshifted(uint64_t y, int bits) {
    uint64_t x = y;
    for (int i = 0; i < 64 / bits + 1; i++)
        x = y ^ (x >> bits);
    return x;
}

static uint64_t unmix(uint64_t x) {
    x = divided(unshifted(x, 31), factors[1]);
    x = divided(unshifted(x, 27), factors[0]);
    return unshifted(x, 30);
}

/* The mix of the heap's secret and the page's number decides 46 bits; the others are fixed. */
static uint64_t guess_mixed(uint64_t x, uint64_t nx, uint64_t y, uint64_t ny, uint64_t nz) {
    const uint64_t low = (1ull << 46) - 1;
    for (uint64_t lost = 0; lost < 1 << 18; lost++) {
        uint64_t whole = unmix((x & low) << 18 | lost) - nx;
        if (mix(whole + ny) >> 18 == (y & low))
            return (x & ~low) | mix(whole + nz) >> 18;
    }
    _exit(UNFIT);
}

static uint64_t guessed(uint64_t x, const char *in_x, uint64_t y, const char *in_y, const char *z) {
    uint64_t nx = number(in_x), ny = number(in_y), nz = number(z);
    if (guess == MIXED)
        return guess_mixed(x, nx, y, ny, nz);
    if (guess == XORED)
        return x ^ nx ^ nz;
    if (guess == LINEAR)
        return nx == ny ? x : x + (y - x) / (ny - nx) * (nz - nx);
    return x;
}

/* ── the attempt ───────────────────────────────────────────────────────────── */

static char *free_two(int at) {
    free(blocks[at]);
    free(blocks[at + 1]);
    char *p = blocks[at + 1];
    blocks[at + 1] = NULL;
    return p;
}

static void forge_one(void) {
    for (int i = 0; i < COUNT; i++)
        blocks[i] = must_malloc(size);
    char *in_x = free_two(COUNT - 5000), *in_y = free_two(COUNT / 3 * 2);
    for (int i = COUNT / 3 - AROUND; i < COUNT / 3 + AROUND; i += 4)
        free(blocks[i + 2]); /* so that malloc soon uses that page again */
    char *z = free_two(COUNT / 3);
    char *next = blocks[COUNT / 3];
    uint64_t x = secret_in(in_x, blocks[COUNT - 5000]), y = secret_in(in_y, blocks[COUNT / 3 * 2]);
    uint64_t secret = guessed(x, in_x, y, in_y, z);
    char *chosen = statically + 4096;
    wild = statically;
    wild_end = statically + sizeof statically;
    memcpy(chosen, z, 16);
    write_link(chosen, next, secret);
    write_link(z, chosen, secret);
    for (int i = 0; i < ROUNDS; i++)
        hold(malloc(size), size);
}

int main(int argc, char **argv) {
    size = (size_t)argument(argc, argv, 1, 128);
    begin_attempts();
    for (int i = 0; i < GUESSES * FORMS; i++) {
        guess = (enum guess)(i % GUESSES);
        form = (enum form)(i / GUESSES);
        char name[100];
        snprintf(name, sizeof name, "a secret that is %s, in form %d", guesses[guess], form);
        attempt(forge_one, name);
    }
    tell_attempts(size);
    return 0;
}
