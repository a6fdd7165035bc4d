/* gelu - y = x Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2
 *
 * With a = |x| and the Mills ratio R(a) = Phi(-a) exp(a^2 / 2), Phi is T = exp(-a^2/2)
 * R(a) for x <= 0 and 1 - T for x > 0. Derivative: y' = w for x <= 0, 1 - w for x > 0,
 * with w = Phi(-a) - a exp(-a^2/2) / sqrt(2 pi) = exp(-a^2/2) (a0 - a) H(a), a0 =
 * 0.7517915... being its root, held in two doubles; so w keeps all digits there. Special:
 * gelu(-0) = -0, gelu(-inf) = -0, y'(inf) = 1, y'(-inf) = -0. Method: R and H are
 * quotients of polynomials, for float32 on [0, 14.7]: R of degrees 7/8, 2^-45.9; H 7/7,
 * 2^-45.9; for float64 on [0, 39]: R 11/12, 2^-65.7; H 11/11, 2^-66.4 (relative errors;
 * found by linearised least squares at Chebyshev nodes, the weights adapted until the
 * error was level, in 60 digits). Reference: Hendrycks and Gimpel (2016). */
#include "base/dd.h"
#include "simd/math.h"

#define A0    0x1.80ead197f00b4p-1
#define A0_LO (-0x1.13e74c58cada8p-56)

#ifdef PA_REAL_IS_DOUBLE
#define CLAMP 37.6
static const double r_p[] = {
    0x1.0000000000000p-1,  0x1.c1e83b2206437p-1,  0x1.8894a5940c7eap-1,
    0x1.b995cc89eaa90p-2,  0x1.6099bdeafe6e3p-3,  0x1.a1c002ec133ecp-5,
    0x1.75eebf84cf35ep-7,  0x1.f9cae28cb5d91p-10, 0x1.fb8dec08c3902p-13,
    0x1.6944ced62d31cp-16, 0x1.4a72565d8160cp-20, 0x1.2963d25772ba9p-25};
static const double r_q[] = {
    0x1.0000000000000p+0,  0x1.4715326053fb0p+1,  0x1.8943bf92d8bffp+1,
    0x1.26ad80f208c38p+1,  0x1.331b248c1e61cp+0,  0x1.d5ffd6093793cp-2,
    0x1.0f78bedb9bb80p-3,  0x1.de7e4d6db2bacp-6,  0x1.407c05100a4b9p-8,
    0x1.3fae2a03a5970p-11, 0x1.c582e0f8ef7f0p-15, 0x1.9e274769a03d5p-19,
    0x1.74b9169f639cbp-24};
static const double h_p[] = {
    0x1.54851a5cc1ec8p-1,  0x1.673ced05a438ap+0,  0x1.6e4620debdcf9p+0,
    0x1.d712b5601a505p-1,  0x1.a665d51a56304p-2,  0x1.14b79a703fe6bp-3,
    0x1.0e4b8e45aba8cp-5,  0x1.8a3fa34cbc98fp-8,  0x1.a5eefda28ca22p-11,
    0x1.3ce416ab23ff4p-14, 0x1.2e78d5d9adf02p-18, 0x1.1876907938274p-23};
static const double h_q[] = {
    0x1.0000000000000p+0,  0x1.3012101bc91ffp+1,  0x1.51599d79f8349p+1,
    0x1.ce483632ec6f4p+0,  0x1.b39580ab053c0p-1,  0x1.2908477980880p-2,
    0x1.2c02981ec1fa5p-4,  0x1.c2598ee36f397p-7,  0x1.ee63ae22264a9p-10,
    0x1.7c09bed30e903p-13, 0x1.72d5942dfe5c3p-17, 0x1.5f8227de788d3p-22};
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
#endif
#define COUNT(c) ((int)(sizeof(c) / sizeof *(c)))

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

#ifndef PA_REAL_IS_DOUBLE
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
