/* math.h - exp, log and the normal tail over vectors of doubles, written once.
 *
 * For float32 kernels (computed in double, rounded once) 2^-43 is enough, since the loop
 * looks at every result near a tie; for float64 kernels each piece is good to 2^-60
 * before rounding. Coefficients were found by weighted least squares at Chebyshev nodes,
 * the weights adapted (Lawson) until the error was level, in 60 digits; the bounds stated
 * are of the relative error over the range given, before the coefficients are rounded. */
#ifndef PA_SIMD_MATH_H
#define PA_SIMD_MATH_H

#include "simd/simd.h"

/* c[0] + c[1] x + ... + c[n-1] x^(n-1), even and odd powers apart: half the latency of
 * Horner's rule for one more product. */
PA_INLINE vd vd_poly(const double *c, int n, vd x)
{
    vd z = vd_mul(x, x);
    vd even = vd_set1(c[(n - 1) & ~1]), odd = vd_set1(c[((n - 2) | 1)]);
    for (int i = ((n - 1) & ~1) - 2; i >= 0; i -= 2)
        even = vd_fma(even, z, vd_set1(c[i]));
    for (int i = ((n - 2) | 1) - 2; i >= 0; i -= 2)
        odd = vd_fma(odd, z, vd_set1(c[i]));
    return vd_fma(odd, x, even);
}

PA_INLINE vd vd_clamp(vd x, double low, double high)
{
    return vd_min(vd_set1(high), vd_max(vd_set1(low), x)); /* NaN stays */
}

/* exp(t) = s + s q with s = 2^k, t = k ln 2 + r, |r| <= ln 2 / 2, q = expm1(r) =
 * r + r^2 h(r). For |t| <= 700; NaN gives q = NaN. Where k = 0, q has full relative
 * accuracy, so s q + (s - 1) is expm1(t) everywhere. */
PA_INLINE void vd_exp_parts(vd t, vd *s, vd *q)
{
    /* 1.5 2^52 + 1023: the sum's low bits are k + 1023, the exponent of 2^k. */
    const vd magic = vd_set1(0x1.8p52 + 1023);
    vd m = vd_fma(t, vd_set1(0x1.71547652b82fep+0), magic);
    vd k = vd_sub(m, magic);
    *s = vi_double(vi_shl(vd_bits(m), 52));
#ifdef PA_REAL_IS_DOUBLE
    /* degree 13 in all, 2^-67.8 of expm1(r) */
    static const double h[] = {0.5,
                               0x1.5555555555555p-3,
                               0x1.5555555555557p-5,
                               0x1.1111111111106p-7,
                               0x1.6c16c16c156dep-10,
                               0x1.a01a01a020c03p-13,
                               0x1.a01a01ab44f09p-16,
                               0x1.71de3a3b074e6p-19,
                               0x1.27e4d0ddddc4bp-22,
                               0x1.ae64a6f74975bp-26,
                               0x1.1f847a86c2155p-29,
                               0x1.61106254255bdp-33};
    vd r = vd_fnma(k, vd_set1(0x1.62e42fefa3000p-1), t);
    r = vd_fnma(k, vd_set1(0x1.3de6af278ece6p-42), r);
#else
    /* degree 9 in all, 2^-43.5 of expm1(r); k ln 2 loses 2^-46 at most for |k| <= 160 */
    static const double h[] = {
        0x1.fffffffff7c57p-2,  0x1.55555555671f6p-3,  0x1.555555731df6ep-5,
        0x1.111110e1325fbp-7,  0x1.6c164fd641cc6p-10, 0x1.a01a7d62ac1a2p-13,
        0x1.a1584244c290dp-16, 0x1.71e918a1147fcp-19,
    };
    vd r = vd_fnma(k, vd_set1(0x1.62e42fefa39efp-1), t);
#endif
    *q = vd_fma(vd_mul(r, r), vd_poly(h, sizeof h / sizeof *h, r), r);
}

PA_INLINE vd vd_exp(vd t)
{
    vd s, q;
    vd_exp_parts(t, &s, &q);
    return vd_fma(s, q, s);
}

PA_INLINE vd vd_expm1(vd t)
{
    vd s, q;
    vd_exp_parts(t, &s, &q);
    return vd_fma(s, q, vd_sub(s, vd_set1(1)));
}

/* log(x) for positive normal x: x = 2^k m, m in [sqrt(1/2), sqrt(2)), s = (m-1)/(m+1),
 * log m = 2 atanh s = 2 s + s z R(z), z = s^2. */
PA_INLINE vd vd_log(vd x)
{
    const vi half = vi_set1(0x3fe6a09e667f3bcd); /* sqrt(1/2) */
    const vd magic = vd_set1(0x1.8p52);
    vi d = vi_sub(vd_bits(x), half);
    /* the exponent as a signed number, by sign extension through a biased shift */
    vi e = vi_sub(vi_shr(vi_add(d, vi_set1((int64_t)1 << 62)), 52), vi_set1(1024));
    vd m = vi_double(vi_sub(vd_bits(x), vi_shl(e, 52)));
    vd k = vd_sub(vi_double(vi_add(vd_bits(magic), e)), magic);
    vd f = vd_sub(m, vd_set1(1));
    vd s = vd_div(f, vd_add(m, vd_set1(1)));
    vd z = vd_mul(s, s);
#ifdef PA_REAL_IS_DOUBLE
    static const double c[] = {
        0x1.5555555555555p-1, 0x1.999999999998ep-2, 0x1.24924924939d0p-2,
        0x1.c71c71c4bc664p-3, 0x1.745d18793ec20p-3, 0x1.3b13537f5d91fp-3,
        0x1.1122a045bb94dp-3, 0x1.ddf05d0594bc9p-4, 0x1.ecfcabb273566p-4};
#else
    static const double c[] = {/* 2^-52.2 of log m */
                               0x1.5555555553939p-1, 0x1.999999a29f080p-2,
                               0x1.2492416fcc416p-2, 0x1.c7227ccc57009p-3,
                               0x1.732b8372349f9p-3, 0x1.587f8972fb040p-3};
#endif
    vd u = vd_mul(vd_mul(s, z), vd_poly(c, sizeof c / sizeof *c, z));
    u = vd_fma(k, vd_set1(0x1.3de6af278ece6p-42), u);
    return vd_fma(k, vd_set1(0x1.62e42fefa3000p-1), vd_fma(s, vd_set1(2), u));
}

#endif
