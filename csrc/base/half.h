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
    uint64_t sign = (uint64_t)(h & 0x8000u) << 48;
    uint32_t magnitude = h & 0x7fffu;
    uint64_t bits;
    double x;
    if (magnitude >= 0x7c00u) { /* infinity, NaN: all ones in the wider exponent */
        bits = (uint64_t)0x7ff << 52 | (uint64_t)(magnitude & 0x3ffu) << 42;
    } else if (magnitude >= 0x0400u) { /* the exponent's bias grows from 15 to 1023 */
        bits = ((uint64_t)magnitude << 42) + ((uint64_t)(1023 - 15) << 52);
    } else { /* zero, subnormal: a whole number of 2^-24 */
        x = (double)magnitude * 0x1p-24;
        memcpy(&bits, &x, sizeof bits);
    }
    bits |= sign;
    memcpy(&x, &bits, sizeof x);
    return x;
}

enum { PA_HALF_OVERFLOW = 1, PA_HALF_UNDERFLOW = 2 }; /* underflow: tiny and inexact */

/* Exceptions that IEEE asks for are added to *flags. */
static inline uint16_t pa_half_from_double(double x, unsigned *flags)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = (uint32_t)(bits >> 48) & 0x8000u;
    uint64_t magnitude = bits & ~((uint64_t)1 << 63);
    int exponent = (int)(magnitude >> 52) - 1023;
    uint32_t h;
    if (exponent == 1024) {
        uint64_t payload = magnitude & (((uint64_t)1 << 52) - 1);
        h = 0x7c00u | (payload ? 0x200u | (uint32_t)(payload >> 42) : 0);
    } else if (exponent >= 16) {
        *flags |= PA_HALF_OVERFLOW;
        h = 0x7c00u;
    } else {
        /* Drop the low bits of the 53-bit significand: 42 of them for a normal result,
         * one more for each step of the exponent under -14; past 54 nothing is left. */
        int drop = exponent >= -14 ? 42 : 28 - exponent;
        if (drop > 54 || magnitude == 0) {
            if (magnitude)
                *flags |= PA_HALF_UNDERFLOW;
            return (uint16_t)sign;
        }
        uint64_t m = (magnitude & (((uint64_t)1 << 52) - 1)) | (uint64_t)1 << 52;
        uint64_t kept = m >> drop, lost = m & (((uint64_t)1 << drop) - 1);
        uint64_t tie = (uint64_t)1 << (drop - 1);
        kept += lost > tie || (lost == tie && (kept & 1));
        /* A carry out of the significand steps the exponent up, which is what is wanted;
         * from the largest number it gives the bits of infinity. */
        h = (uint32_t)kept;
        if (exponent >= -14)
            h += (uint32_t)(exponent + 14) << 10;
        else if (lost)
            *flags |= PA_HALF_UNDERFLOW;
        if (h >= 0x7c00u)
            *flags |= PA_HALF_OVERFLOW;
    }
    return (uint16_t)(sign | h);
}

#endif
