/* math.h - exp, log and their like over vectors of doubles, written once, in two grades.
 *
 * For float32 kernels, which compute in double and round once: vd_exp, vd_expm1, vd_log,
 * good to 2^-43; with a table of powers, where the ISA reads one quickly, expm1 to
 * 2^-41.1 and exp to 2^-46. The loop looks again at every result near a tie of floats.
 * Compiled for float64 the same names are good to 2^-52: softmax and the losses build on
 * them. For float64 kernels: vdd_expm1_parts and vdd_log give sums of two doubles, good
 * to 2^-57, so that the final rounding is nearly the only error.
 *
 * Coefficients were found by weighted least squares at Chebyshev nodes, the weights
 * adapted (Lawson) until the error was level, in 60 digits; the bounds stated are of the
 * relative error over the range given, before the coefficients are rounded. */
#ifndef PA_SIMD_MATH_H
#define PA_SIMD_MATH_H

#include "simd/vdd.h"

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

/* exp(t) = s + s q, t = ln s + r, q = expm1(r) = r + r^2 h(r). s is 2^k with |r| <=
 * ln 2 / 2, or, by a table, 2^(k/16) with |r| <= ln 2 / 32. For |t| <= 700; NaN gives
 * q = NaN. Where s = 1, q has full relative accuracy, so s q + (s - 1) is expm1(t)
 * everywhere. */
#if defined(PA_SIMD_LOOKUP16) && !defined(PA_REAL_IS_DOUBLE)
PA_INLINE void vd_exp_parts(vd t, vd *s, vd *q)
{
    /* the bits of 2^(j/16) less j 2^48: adding k 2^48, k = 16 i + j, gives 2^(k/16) */
    static const int64_t power[16] = {
        0x3ff0000000000000, 0x3fefb5586cf9890f, 0x3fef72b83c7d517b, 0x3fef387a6e756238,
        0x3fef06fe0a31b715, 0x3feedea64c123422, 0x3feebfdad5362a27, 0x3feeab07dd485429,
        0x3feea09e667f3bcd, 0x3feea11473eb0187, 0x3feeace5422aa0db, 0x3feec49182a3f090,
        0x3feee89f995ad3ad, 0x3fef199bdd85529c, 0x3fef5818dcfba487, 0x3fefa4afa2a490da};
    /* degree 5 in all, 2^-41.1 of expm1(r), 2^-46 of exp(r) */
    static const double h[] = {0x1.fffffffe5bc6bp-2, 0x1.55555555cf813p-3,
                               0x1.55570ab08bd74p-5, 0x1.111173d551448p-7};
    const vd magic = vd_set1(0x1.8p52);
    vd m = vd_fma(t, vd_set1(0x1.71547652b82fep+4), magic);
    vd r = vd_fnma(vd_sub(m, magic), vd_set1(0x1.62e42fefa39efp-5), t);
    vi k = vd_bits(m);
    *s = vi_double(vi_add(vi_lookup16(power, k), vi_shl(k, 48)));
    *q = vd_fma(vd_mul(r, r), vd_poly(h, 4, r), r);
}
#else
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
#endif

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

/* x = 2^k m for positive normal x, m in [sqrt(1/2), sqrt(2)). */
PA_INLINE vd vd_log_split(vd x, vd *k)
{
    const vi half = vi_set1(0x3fe6a09e667f3bcd); /* sqrt(1/2) */
    const vd magic = vd_set1(0x1.8p52);
    /* the exponent as a signed number: a logical shift of a number made positive */
    vi e = vi_add(vi_sub(vd_bits(x), half), vi_set1((int64_t)1 << 62));
    e = vi_sub(vi_shr(e, 52), vi_set1(1024));
    *k = vd_sub(vi_double(vi_add(vd_bits(magic), e)), magic);
    return vi_double(vi_sub(vd_bits(x), vi_shl(e, 52)));
}

/* log(x) for positive normal x: with s = (m-1)/(m+1), log m = 2 atanh s = 2 s + s z R(z),
 * z = s^2. */
PA_INLINE vd vd_log(vd x)
{
    vd k;
    vd m = vd_log_split(x, &k);
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

/* ---- float64 grade ---------------------------------------------------------------- */

/* a 2^k for whole |k| <= 2040; rounds only where the result is not normal. */
PA_INLINE vd vd_scale(vd a, vd k)
{
    const vd magic = vd_set1(0x1.8p52 + 1023);
    vd m = vd_add(vd_mul(k, vd_set1(0.5)), magic);
    vd rest = vd_add(vd_sub(k, vd_sub(m, magic)), magic);
    a = vd_mul(a, vi_double(vi_shl(vd_bits(m), 52)));
    return vd_mul(a, vi_double(vi_shl(vd_bits(rest), 52)));
}

/* t = k ln 2 + r, |r| <= ln 2 / 2; gives k and expm1(r) = r + r^2/2 + r^3 h(r), of which
 * the first two terms are exact to 2^-100; h is of degree 9, 2^-61.7 of expm1(r). For
 * |t.h| <= 1400; NaN gives NaN. */
PA_INLINE vdd vdd_expm1_parts(vdd t, vd *k)
{
    static const double h[] = {0x1.5555555555559p-3,  0x1.5555555555549p-5,
                               0x1.111111110f7e4p-7,  0x1.6c16c16c1cc39p-10,
                               0x1.a01a01af78d45p-13, 0x1.a01a01831e8c1p-16,
                               0x1.71ddf94c101bfp-19, 0x1.27e52b31fa069p-22,
                               0x1.af5d2d7080345p-26, 0x1.1ef4cf23b9a45p-29};
    const vd magic = vd_set1(0x1.8p52), mid = vd_set1(0x1.3de6af278ece6p-42);
    *k = vd_sub(vd_fma(t.h, vd_set1(0x1.71547652b82fep+0), magic), magic);
    vd exact = vd_fnma(*k, vd_set1(0x1.62e42fefa3000p-1), t.h);
    vd rest = vd_fnma(*k, mid, t.l), r = vd_add(exact, rest);
    vd low = vd_add(vd_sub(exact, r), rest);
    vdd z = vdd_prod(r, r);
    vd c = vd_mul(vd_mul(z.h, r), vd_poly(h, (int)(sizeof h / sizeof *h), r));
    vdd q = vdd_quick(r, vd_mul(z.h, vd_set1(0.5)));
    vd l = vd_fma(low, r, vd_fma(z.l, vd_set1(0.5), low));
    return vdd_quick(q.h, vd_add(q.l, vd_add(l, c)));
}

/* 2^k for whole k <= 1023; 2^-1000 where that is less. */
PA_INLINE vd vd_power_of_two(vd k)
{
    vd m = vd_add(vd_max(vd_set1(-1000), k), vd_set1(0x1.8p52 + 1023));
    return vi_double(vi_shl(vd_bits(m), 52));
}

/* expm1 of the sum of which vdd_expm1_parts gave k and q. */
PA_INLINE vdd vdd_expm1_join(vdd q, vd k)
{
    vd s = vd_power_of_two(k);
    vdd w = vdd_two_sum(s, vd_set1(-1));
    return vdd_add(w, vdd_shift(q, s));
}

/* 1 + q, |q| < 1/2. */
PA_INLINE vdd vdd_one_plus(vdd q)
{
    vdd e = vdd_quick(vd_set1(1), q.h);
    return vdd_quick(e.h, vd_add(e.l, q.l));
}

/* exp(t) = m 2^k. */
PA_INLINE vdd vdd_exp_parts(vdd t, vd *k)
{
    return vdd_one_plus(vdd_expm1_parts(t, k));
}

PA_INLINE vdd vdd_expm1(vdd t)
{
    vd k;
    vdd q = vdd_expm1_parts(t, &k);
    return vdd_expm1_join(q, k);
}

/* -|z|, but not below -1400, where exp has long been 0. */
PA_INLINE vdd vdd_minus_abs(vdd z)
{
    const vd low = vd_set1(-1400);
    vdd t = vdd_sel(vd_lt(z.h, vd_zero()), z, vdd_neg(z));
    t.l = vd_sel(vd_lt(t.h, low), vd_zero(), t.l);
    t.h = vd_max(low, t.h);
    return t;
}

/* 1 + m 2^k for m 2^k <= 1. */
PA_INLINE vdd vdd_one_plus_scaled(vdd m, vd k)
{
    vdd e = vdd_shift(m, vd_power_of_two(k));
    vdd d = vdd_quick(vd_set1(1), e.h);
    return vdd_quick(d.h, vd_add(d.l, e.l));
}

/* 1 / (1 + exp(-z)) = q 2^k: 1 / d or m / d with d = 1 + m 2^k = 1 + exp(-|z|). */
PA_INLINE vdd vdd_sigmoid_parts(vdd z, vd *k)
{
    vdd m = vdd_exp_parts(vdd_minus_abs(z), k);
    vdd d = vdd_one_plus_scaled(m, *k);
    vdm minus = vd_lt(z.h, vd_zero());
    vdd n = vdd_sel(minus, m, vdd_of(1, 0));
    *k = vd_sel(minus, *k, vd_zero());
    return vdd_div(n, d);
}

/* a (1 + c), |c| small. */
PA_INLINE vdd vdd_correct(vdd a, vd c)
{
    return vdd_quick(a.h, vd_fma(a.h, c, a.l));
}

/* log(x) for positive normal x, as vd_log, with 2 s in two doubles. */
PA_INLINE vdd vdd_log(vd x)
{
    static const double c[] = {0x1.5555555555555p-2, 0x1.9999999999e05p-3,
                               0x1.249249242ac0ap-3, 0x1.c71c725999e44p-4,
                               0x1.745cde03a811bp-4, 0x1.3b20b43f38b8bp-4,
                               0x1.0f5c0255ca84bp-4, 0x1.0f6a36816084dp-4};
    vd k;
    vd m = vd_log_split(x, &k);
    vdd s = {vd_sub(m, vd_set1(1)), vd_zero()};
    s = vdd_div(s, vdd_two_sum(m, vd_set1(1)));
    s = vdd_shift(s, vd_set1(2));
    vd z = vd_mul(vd_mul(s.h, s.h), vd_set1(0.25));
    /* 2 s (1 + z R/2) */
    s = vdd_correct(s, vd_mul(z, vd_poly(c, (int)(sizeof c / sizeof *c), z)));
    vdd ln2 = vdd_quick(vd_mul(k, vd_set1(0x1.62e42fefa3000p-1)),
                        vd_mul(k, vd_set1(0x1.3de6af278ece6p-42)));
    return vdd_add(ln2, s);
}

#endif
