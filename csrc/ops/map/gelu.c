/* gelu - y = x Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2
 *
 * With a = |x| and the Mills ratio R(a) = Phi(-a) exp(a^2 / 2), Phi is
 * T = exp(-a^2/2) R(a) for x <= 0 and 1 - T for x > 0.
 * Derivative: y' = w for x <= 0, 1 - w for x > 0, with
 *     w = Phi(-a) - a exp(-a^2/2) / sqrt(2 pi) = exp(-a^2/2) (a0 - a) H(a),
 * a0 = 0.7517915... being its root, held in two doubles; so w keeps all digits there.
 * Special: gelu(-0) = -0, gelu(-inf) = -0, y'(inf) = 1, y'(-inf) = -0.
 * Method: for float32 R and H are quotients of polynomials on [0, 14.7], R of degrees
 * 7/8 and H 7/7, each good to 2^-45.9 relative. Coefficients here and in softplus.c
 * were found by linearised least squares at Chebyshev nodes, the weights adapted until
 * the error was level, in 60 digits.
 * Reference: Hendrycks and Gimpel (2016). */
#include "base/dd.h"
#include "simd/math.h"

#define A0    0x1.80ead197f00b4p-1
#define A0_LO (-0x1.13e74c58cada8p-56)

#define COUNT(c) ((int)(sizeof(c) / sizeof *(c)))

#ifdef PA_REAL_IS_DOUBLE

#define CLAMP 39.0 /* beyond it exp(-a^2/2) is 0 */

/* R = C (a + R1) / (a^2 + R2 a + R3) (1 + r(a)), |r| < 0.0033, C = 1 / sqrt(2 pi): the
 * quotient is computed in two doubles, and r, of degrees 10/11 and good to 2^-57.4 of R,
 * in one. H = C (a + H1) / (a + H2) (1 + h(a)) likewise, |h| < 0.0062, 10/11, 2^-62.5. */
#define C    0x1.9884533d43651p-2
#define C_LO (-0x1.cbc0d30ebfd15p-56)
#define R1   2.296875
#define R2   2.1953125
#define R3   1.8359375
#define H1   2.1484375
#define H2   1.28125
static const double r_p[] = {
    0x1.d785bbdaf4479p-10,  -0x1.097ddc0dfcdb2p-5,  0x1.86fa58932293bp-8,
    0x1.47b06e45bed88p-6,   0x1.59e83151b17e5p-7,   0x1.444a39663cc41p-9,
    0x1.966ce337b2301p-14,  -0x1.c02f85eee4540p-14, -0x1.15b1828c3c2dcp-15,
    -0x1.396f15df932d0p-18, -0x1.5236fe8ad7521p-22};
static const double r_q[] = {
    0x1.0000000000000p+0,  0x1.701c4b3f09d71p+1,  0x1.eb6877033615ep+1,
    0x1.93c32fc374f0dp+1,  0x1.c7c656cb79f09p+0,  0x1.74d6b1960b558p-1,
    0x1.c5757a8f5d4dep-3,  0x1.9c912e35a5a18p-5,  0x1.155b32ca8f74bp-7,
    0x1.093b2deecf5fbp-10, 0x1.49d42a99baa36p-14, 0x1.a043af7036932p-19};
static const double h_p[] = {
    -0x1.7c1f5d9fe0194p-8,  0x1.0d7e75b487a02p-5,   0x1.11c8cad8a41bap-5,
    0x1.591d3361e938ep-7,   -0x1.de350d45ff8b5p-10, -0x1.6d11f721bb248p-9,
    -0x1.3039928cd0be4p-10, -0x1.266b1c1798b0ep-12, -0x1.6963fde088a49p-15,
    -0x1.0d7daf6d0c2fdp-18, -0x1.87477e44fa5a6p-23};
static const double h_q[] = {
    0x1.0000000000000p+0,  0x1.664dfe71a7b05p+1,  0x1.cf1245b25f992p+1,
    0x1.6e80c353146a5p+1,  0x1.8c84b9947c9b8p+0,  0x1.353a747d05e2dp-1,
    0x1.6469a1a3aaa8ap-3,  0x1.3128e410baa74p-5,  0x1.7eca4c9213542p-8,
    0x1.51a438a2dd1f1p-11, 0x1.7d074a0c8f47fp-15, 0x1.a7d81a1146b2cp-20};

/* exp(-a^2/2) = m 2^k */
PA_INLINE vdd bell(vd a, vd *k)
{
    vdd t = vdd_shift(vdd_prod(a, a), vd_set1(-0.5));
    return vdd_exp_parts(t, k);
}

PA_INLINE vd f(vd x)
{
    const vd inf = vd_set1((double)INFINITY);
    vd a = vd_min(vd_set1(CLAMP), vd_abs(x)), k;
    vdd m = vdd_mul(bell(a, &k), vdd_of(C, C_LO));
    vdd n = vdd_mul(m, vdd_two_sum(a, vd_set1(R1)));
    vdd d = vdd_add_d(vdd_mul_d(vdd_two_sum(a, vd_set1(R2)), a), vd_set1(R3));
    vd r = vd_div(vd_poly(r_p, COUNT(r_p), a), vd_poly(r_q, COUNT(r_q), a));
    vdd t = vdd_correct(vdd_div(n, d), r);
    vdd one_minus = vdd_sub(vdd_of(1, 0), vdd_shift(t, vd_power_of_two(k)));
    vdm plus = vd_gt(x, vd_zero());
    t = vdd_mul_d(vdd_sel(plus, one_minus, t), vd_max(vd_set1(-CLAMP), x));
    vd y = vd_scale(vdd_round(t), vd_sel(plus, vd_zero(), k));
    return vd_copysign(vd_sel(vd_eq(x, inf), inf, y), x);
}

PA_INLINE vd df(vd x)
{
    vd a = vd_min(vd_set1(CLAMP), vd_abs(x)), k;
    vdd m = vdd_mul(bell(a, &k), vdd_of(C, C_LO));
    vdd n = vdd_mul(m, vdd_add_d(vdd_of(A0, A0_LO), vd_neg(a)));
    n = vdd_mul(n, vdd_two_sum(a, vd_set1(H1)));
    vd h = vd_div(vd_poly(h_p, COUNT(h_p), a), vd_poly(h_q, COUNT(h_q), a));
    vdd w = vdd_correct(vdd_div(n, vdd_two_sum(a, vd_set1(H2))), h);
    vdd one_minus = vdd_sub(vdd_of(1, 0), vdd_shift(w, vd_power_of_two(k)));
    return vd_sel(vd_gt(x, vd_zero()), vdd_round(one_minus), vd_scale(vdd_round(w), k));
}

#else

#define CLAMP 14.6
static const double r_p[] = {0x1.fffffffffff7ap-2,  0x1.43310d2a33c5ep-1,
                             0x1.9355e361d5426p-2,  0x1.36de6dfbbec83p-3,
                             0x1.3bde812250d30p-5,  0x1.a5ff058ee55f6p-8,
                             0x1.58da018de4e04p-11, 0x1.0dd45ecfaccefp-15};
static const double r_q[] = {
    0x1.0000000000000p+0, 0x1.07b99b6469856p+1,  0x1.ee8312cd98c05p+0,
    0x1.14a44f23e4fe5p+0, 0x1.95fb609cccf1dp-2,  0x1.92a2cc3833f41p-4,
    0x1.09c49b5f49707p-6, 0x1.b03514042d3f6p-10, 0x1.522e649393fc6p-14};
static const double h_p[] = {0x1.54851a5cc1f1fp-1, 0x1.0cf9a04471995p+0,
                             0x1.9118d1803b55ap-1, 0x1.65c7f6a476952p-2,
                             0x1.99efb0d3b0e0dp-4, 0x1.2deb3b9d411c7p-6,
                             0x1.0a49fb07ade9dp-9, 0x1.b736501ea8cf0p-14};
static const double h_q[] = {0x1.0000000000000p+0, 0x1.d86c61ab1bfcfp+0,
                             0x1.85783e47bc797p+0, 0x1.758a0eb85acc6p-1,
                             0x1.c4af4a3b5355ap-3, 0x1.5d2fb14dda4b7p-5,
                             0x1.40cfaf228771cp-8, 0x1.133c43932e5ddp-12};

PA_INLINE vd f(vd x)
{
    vd a = vd_min(vd_set1(CLAMP), vd_abs(x));
    vd e = vd_exp(vd_mul(vd_mul(a, a), vd_set1(-0.5)));
    vd t = vd_mul(e, vd_poly(r_p, COUNT(r_p), a));
    t = vd_div(t, vd_poly(r_q, COUNT(r_q), a));
    t = vd_sel(vd_gt(x, vd_zero()), vd_sub(vd_set1(1), t), t);
    return vd_mul(vd_max(vd_set1(-CLAMP), x), t);
}

PA_INLINE vd df(vd x)
{
    vd a = vd_min(vd_set1(CLAMP), vd_abs(x));
    vd e = vd_exp(vd_mul(vd_mul(a, a), vd_set1(-0.5)));
    vd d = vd_add(vd_sub(vd_set1(A0), a), vd_set1(A0_LO));
    vd w = vd_mul(vd_mul(e, d), vd_poly(h_p, COUNT(h_p), a));
    w = vd_div(w, vd_poly(h_q, COUNT(h_q), a));
    return vd_sel(vd_gt(x, vd_zero()), vd_sub(vd_set1(1), w), w);
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd *y, vd *dy)
{
    const vd one = vd_set1(1);
    vdm plus = vd_gt(x, vd_zero());
    vd a = vd_min(vd_set1(CLAMP), vd_abs(x));
    vd e = vd_exp(vd_mul(vd_mul(a, a), vd_set1(-0.5)));
    vd d = vd_add(vd_sub(vd_set1(A0), a), vd_set1(A0_LO));
    /* both quotients by one division */
    vd rq = vd_poly(r_q, COUNT(r_q), a), hq = vd_poly(h_q, COUNT(h_q), a);
    vd er = vd_div(e, vd_mul(rq, hq));
    vd t = vd_mul(vd_mul(er, hq), vd_poly(r_p, COUNT(r_p), a));
    vd w = vd_mul(vd_mul(er, rq), vd_mul(d, vd_poly(h_p, COUNT(h_p), a)));
    *y = vd_mul(vd_max(vd_set1(-CLAMP), x), vd_sel(plus, vd_sub(one, t), t));
    *dy = vd_sel(plus, vd_sub(one, w), w);
}

#define MAP_ROUND_F  11
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x)
{
    if (fabs(x) < 0x1p-100) /* x/2 may be a tie; the next term decides */
        return (pa_dd){0.5 * x, 0x1.9884533d43651p-2 * x * x};
    pa_dd t = pa_dd_normal_tail(fabs(x));
    return pa_dd_mul_d(x > 0 ? pa_dd_sub((pa_dd){1, 0}, t) : t, x);
}

static pa_dd exact_df(double x)
{
    pa_dd w = pa_dd_normal_tail(fabs(x));
    w = pa_dd_sub(w, pa_dd_mul_d(pa_dd_normal_density(x), fabs(x)));
    return x > 0 ? pa_dd_sub((pa_dd){1, 0}, w) : w;
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_gelu) = {
    .name = "gelu",
    .formula = "x (1 + erf(x / sqrt(2))) / 2",
    PA_MAP_MEMBERS,
};
