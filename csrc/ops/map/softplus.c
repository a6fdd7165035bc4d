/* softplus - y = ln(1 + exp(x)) = max(x, 0) + log1p(e), e = exp(-|x|)
 *
 * Derivative: sigmoid(x) = 1 / (1 + exp(-x)).
 * Special: softplus(-inf) = 0, softplus(inf) = inf, y'(-inf) = 0, y'(inf) = 1.
 * Method: exp of simd/math.h; for float32 log1p(e) = e P(e) / Q(e) on [0, 1], of degrees
 * 5/5, 2^-48.1 relative (found as in gelu.c). */
#include "base/dd.h"
#include "simd/math.h"

#define COUNT(c) ((int)(sizeof(c) / sizeof *(c)))

#ifdef PA_REAL_IS_DOUBLE

/* log1p(e) = 2 atanh(s), s = e / (2 + e): 2 s (1 + z A(z)), z = s^2 <= 1/9, A of degree
 * 9, 2^-59.4 of log1p(e); 2 s is held in two doubles. */
static const double a_c[] = {0x1.5555555555535p-2, 0x1.99999999a0854p-3,
                             0x1.2492492084b92p-3, 0x1.c71c741ff359cp-4,
                             0x1.745cb38c1b5c6p-4, 0x1.3b1de47e0db9dp-4,
                             0x1.106755fd4ef99p-4, 0x1.efdeb5e0277f7p-5,
                             0x1.5596e31952a2fp-5, 0x1.5c8f881a6cad3p-4};

PA_INLINE vd f(vd x)
{
    const vd one = vd_set1(1), inf = vd_set1((double)INFINITY);
    vd k;
    vdd v = {x, vd_zero()};
    vdd m = vdd_exp_parts(vdd_minus_abs(v), &k);
    vdd r = vdd_div(vdd_of(1, 0), vdd_add_d(vdd_one_plus_scaled(m, k), one));
    vd power = vd_power_of_two(k), s = vd_mul(vd_mul(m.h, power), r.h);
    vd z = vd_mul(s, s);
    vdd l = vdd_shift(vdd_mul(m, r), vd_set1(2));
    l = vdd_correct(l, vd_mul(z, vd_poly(a_c, (int)(sizeof a_c / sizeof *a_c), z)));
    vd plus = vdd_round(vdd_add_d(vdd_shift(l, power), x));
    plus = vd_sel(vd_eq(x, inf), inf, plus);
    return vd_sel(vd_gt(x, vd_zero()), plus, vd_scale(vdd_round(l), k));
}

PA_INLINE vd df(vd x)
{
    vd k;
    vdd z = {x, vd_zero()};
    vdd q = vdd_sigmoid_parts(z, &k);
    return vd_scale(vdd_round(q), k);
}

#else

#define CLAMP 120.0
static const double l_p[] = {0x1.fffffffffffe2p-1, 0x1.fdfab8f9715c5p+0,
                             0x1.50d62de57f55cp+0, 0x1.4deb90c616221p-2,
                             0x1.8ae4e4cbfa70ap-6, 0x1.f4a069ca9c9a0p-14};
static const double l_q[] = {0x1.0000000000000p+0, 0x1.3efd5c7cb811dp+1,
                             0x1.1d3f1a8693469p+1, 0x1.b8222cbe328eap-1,
                             0x1.12ac430d6f1e1p-3, 0x1.8939f77a28030p-8};

PA_INLINE vd f(vd x)
{
    vd e = vd_exp(vd_max(vd_set1(-CLAMP), vd_neg(vd_abs(x))));
    vd l = vd_mul(e, vd_poly(l_p, COUNT(l_p), e));
    l = vd_div(l, vd_poly(l_q, COUNT(l_q), e));
    return vd_add(vd_max(vd_zero(), x), l);
}

PA_INLINE vd df(vd x)
{
    const vd one = vd_set1(1);
    vd e = vd_exp(vd_neg(vd_clamp(x, -CLAMP, CLAMP)));
    return vd_div(one, vd_add(one, e));
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd *y, vd *dy)
{
    const vd zero = vd_zero(), one = vd_set1(1);
    vd e = vd_exp(vd_max(vd_set1(-CLAMP), vd_neg(vd_abs(x))));
    /* e P / Q and 1 / (1 + e) by one division */
    vd b = vd_add(one, e), q = vd_poly(l_q, COUNT(l_q), e);
    vd r = vd_div(one, vd_mul(b, q));
    vd l = vd_mul(vd_mul(e, vd_poly(l_p, COUNT(l_p), e)), vd_mul(b, r));
    vd s = vd_mul(q, r);
    *y = vd_add(vd_max(zero, x), l);
    *dy = vd_sel(vd_lt(x, zero), vd_mul(e, s), s);
}

#define MAP_ROUND_F  11
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x)
{
    pa_dd l = pa_dd_log1p(pa_dd_exp((pa_dd){-fabs(x), 0}));
    return x > 0 ? pa_dd_add_d(l, x) : l;
}

static pa_dd exact_df(double x)
{
    pa_dd e = pa_dd_exp((pa_dd){-x, 0});
    return pa_dd_div((pa_dd){1, 0}, pa_dd_add_d(e, 1));
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_softplus) = {
    .name = "softplus",
    .formula = "ln(1 + exp(x))",
    PA_MAP_MEMBERS,
};
