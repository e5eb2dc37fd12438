/* chance.h: which allocations are sampled, and how many each of them stands for.
 *
 * The logarithm and the exponential function are our own: those of libm would load a library
 * into every program. Both are exact to about 1e-13.
 */
#pragma once

#include <stdint.h>
#include <string.h>

static const double ln2 = 0.693147180559945309417;

/* x > 0. The mantissa m is brought into [1/√2, √2), and ln m = 2 artanh((m - 1) / (m + 1)). */
static double log_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.41421356237309504880) {
        m /= 2;
        exponent++;
    }
    double z = (m - 1) / (m + 1), square = z * z, sum = 0;
    for (int i = 15; i > 0; i -= 2)
        sum = sum * square + 1.0 / i;
    return 2 * z * sum + exponent * ln2;
}

/* 1 - exp(-x) for x >= 0, by its series for x / 2^k below 1/2, then squared k times. */
static double one_less_exp(double x) {
    if (x > 40)
        return 1;
    int halved = 0;
    while (x > 0.5) {
        x /= 2;
        halved++;
    }
    double sum = 0;
    for (int i = 14; i > 1; i--)
        sum = -x / i * (1 + sum);
    double result = x * (1 + sum);
    while (halved-- > 0) /* 1 - (1 - y)² */
        result = result * (2 - result);
    return result;
}

/* xorshift64*: a thread draws once a sample. Never 0. */
static uint64_t chance_next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* Bytes until the next sample: exponentially distributed. */
static uint64_t chance_draw(uint64_t *state, uint64_t every) {
    double u = ((double)(chance_next(state) >> 11) + 0.5) / (double)(1ull << 53);
    double bytes = -log_of(u) * (double)every;
    return bytes < 1e18 ? (uint64_t)bytes : (uint64_t)1e18;
}

/* How many blocks of this size one sample stands for. A block without bytes is taken for one byte,
 * as the countdown does. */
static double chance_weight(size_t size, uint64_t every) {
    return every ? 1 / one_less_exp((double)(size ? size : 1) / (double)every) : 1;
}
