/* half.h - float16 (IEEE binary16, as its bits) to and from double.
 *
 * To double is exact. From double rounds once, to nearest, ties to even, whatever the
 * processor's rounding mode; what is over 65520 becomes an infinity, what is under 2^-14
 * a subnormal, NaN stays NaN with its sign and the leading bits of its payload. */
#ifndef PA_HALF_H
#define PA_HALF_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline double pa_half_to_double(uint16_t h)
{
    const uint64_t one = (uint64_t)1 << 52, magnitude = h & 0x7fffu;
    uint64_t bits = (magnitude << 42) + 1008 * one; /* the bias grows from 15 to 1023 */
    /* A subnormal lacks the leading 1 that this exponent implies: put in, taken out. */
    uint64_t tiny = bits + one;
    double x;
    memcpy(&x, &tiny, sizeof x);
    x -= 0x1p-14;
    memcpy(&tiny, &x, sizeof x);
    bits = magnitude < 0x0400u ? tiny : bits;
    bits |= magnitude >= 0x7c00u ? 0x7ff * one : 0; /* infinity, NaN */
    bits |= (uint64_t)(h & 0x8000u) << 48;
    memcpy(&x, &bits, sizeof x);
    return x;
}

enum { PA_HALF_OVERFLOW = 1, PA_HALF_UNDERFLOW = 2 }; /* underflow: tiny and inexact */

/* Exceptions that IEEE asks for are added to *flags. No branches: data decide them, and
 * they would be guessed wrong. */
static inline uint16_t pa_half_from_double(double x, unsigned *flags)
{
    const uint64_t one = (uint64_t)1 << 52, infinity = 0x7ff * one;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = (uint32_t)(bits >> 48) & 0x8000u;
    const uint64_t magnitude = bits & ~((uint64_t)1 << 63);
    int exponent = (int)(magnitude >> 52) - 1023;
    exponent = exponent > 16 ? 16 : exponent;
    /* Of the 53 bits of the significand 42 are dropped for a normal result, and one more
     * for each step of the exponent under -14; with 55 nothing is left. */
    int drop = exponent >= -14 ? 42 : 28 - exponent;
    drop = drop > 55 ? 55 : drop;
    const uint64_t m = (magnitude & (one - 1)) | one, unit = (uint64_t)1 << drop;
    const uint64_t odd = (m >> drop) & 1;
    uint32_t h = (uint32_t)((m + (unit / 2 - 1) + odd) >> drop);
    /* A carry out of the significand steps the exponent up, as it should; from the
     * largest number it gives the bits of infinity. */
    h += exponent > -14 ? (uint32_t)(exponent + 14) << 10 : 0;
    const bool inexact = (m & (unit - 1)) != 0;
    *flags |= (unsigned)((h >= 0x7c00u) & (magnitude < infinity)) * PA_HALF_OVERFLOW;
    *flags |=
        (unsigned)((exponent < -14) & (magnitude != 0) & inexact) * PA_HALF_UNDERFLOW;
    h = h > 0x7c00u ? 0x7c00u : h;
    const uint32_t nan = 0x7e00u | ((uint32_t)(magnitude >> 42) & 0x3ffu);
    return (uint16_t)(sign | (magnitude > infinity ? nan : h));
}

#endif
