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
    /* masks of all ones, from the sign: a branch would be guessed wrong */
    const uint64_t is_tiny = 0 - ((magnitude - 0x0400) >> 63);
    const uint64_t is_special = 0 - ((0x7bff - magnitude) >> 63); /* infinity, NaN */
    bits ^= (bits ^ tiny) & (is_tiny >> 1); /* rounding down, the sum may be -0 */
    bits |= 0x7ff * one & is_special;
    bits |= (uint64_t)(h & 0x8000u) << 48;
    memcpy(&x, &bits, sizeof x);
    return x;
}

enum { PA_HALF_OVERFLOW = 1, PA_HALF_UNDERFLOW = 2 }; /* underflow: tiny and inexact */

/* max(a, 0) and min(a, b) by the sign's bits, not by comparisons, for the same reason. */
static inline int pa_half_positive_(int a)
{
    return a & ((int)((unsigned)a >> 31) - 1);
}

static inline int pa_half_min_(int a, int b)
{
    return b - pa_half_positive_(b - a);
}

/* Exceptions that IEEE asks for are added to *flags. */
static inline uint16_t pa_half_from_double(double x, unsigned *flags)
{
    const uint64_t one = (uint64_t)1 << 52, infinity = 0x7ff * one;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = (uint32_t)(bits >> 48) & 0x8000u;
    const uint64_t magnitude = bits & ~((uint64_t)1 << 63);
    const int exponent = pa_half_min_((int)(magnitude >> 52) - 1023, 16);
    /* Of the 53 bits of the significand 42 are dropped for a normal result, and one more
     * for each step of the exponent under -14; with 55 nothing is left. */
    const int under = pa_half_min_(pa_half_positive_(-14 - exponent), 13);
    const int drop = 42 + under;
    const uint64_t m = (magnitude & (one - 1)) | one, unit = (uint64_t)1 << drop;
    const uint64_t odd = (m >> drop) & 1;
    /* A carry out of the significand steps the exponent up, as it should; from the
     * largest number it gives the bits of infinity. */
    const int rounded = (int)((m + (unit / 2 - 1) + odd) >> drop) +
                        pa_half_positive_(exponent + 14) * 1024;
    const uint32_t nan = (uint32_t)((infinity - magnitude) >> 63); /* 0 or 1 */
    const uint32_t finite = (uint32_t)((magnitude - infinity) >> 63);
    const uint32_t over = (uint32_t)(0x7bff - rounded) >> 31;
    const uint32_t inexact = (uint32_t)(((m & (unit - 1)) + (unit - 1)) >> drop);
    const uint32_t nonzero = (uint32_t)((0 - magnitude) >> 63);
    *flags |= (over & finite) * PA_HALF_OVERFLOW;
    *flags |= ((uint32_t)-under >> 31 & inexact & nonzero) * PA_HALF_UNDERFLOW;
    const uint32_t payload = 0x200u | ((uint32_t)(magnitude >> 42) & 0x3ffu);
    const uint32_t h = (uint32_t)pa_half_min_(rounded, 0x7c00);
    return (uint16_t)(sign | h | (payload & (0u - nan)));
}

#endif
