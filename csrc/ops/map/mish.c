/* mish - y = x tanh(softplus(x)) = x n / (n + 2), n = e (e + 2), e = exp(x)
 *
 * Derivative: y' = e B / (n + 2)^2, B = e^3 + 4 e^2 + 6 e + 4 + 4 x (e + 1).
 * B has its root at x0 = -1.1924312... With d = x - x0, E0 = exp(x0) and
 * h = E0 expm1(d) it is
 *     h (e^2 + e E0 + E0^2 + 4 (e + E0) + 6 + 4 x) + 4 d (1 + E0),
 * so y' keeps all digits at the root (for x well below it, 4 x h cancels about a third
 * of the last term, which costs a bit).
 * Special: mish(-0) = -0, mish(-inf) = -0, y'(inf) = 1, y'(-inf) = -0.
 * Method: exp of simd/math.h; e is E0 exp(d). x0 is held in two doubles.
 * Reference: Misra (2019). */
#include "base/dd.h"
#include "simd/math.h"

#define X0    (-0x1.31432c0d12d84p+0)
#define X0_LO (-0x1.bf319154da210p-55)
#define E0    0x1.36c4202fc3eccp-2
#define E0_LO 0x1.6d73a02f8d922p-56
#define HIGH  40.0 /* beyond it the ratio is 1 to the last bit */

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x)
{
    const vd one = vd_set1(1), two = vd_set1(2), inf = vd_set1((double)INFINITY);
    vd k;
    vdd z = {x, vd_zero()};
    vdd m = vdd_exp_parts(vdd_minus_abs(z), &k); /* exp(-|x|) = m 2^k */
    vdd e = vdd_shift(m, vd_power_of_two(k)), e2 = vdd_mul(e, e);
    vdd twice = vdd_shift(e, two);
    vdd n_plus = vdd_add_d(twice, one), n_minus = vdd_mul(m, vdd_add_d(e, two));
    vdd d_plus = vdd_add(n_plus, vdd_shift(e2, two));
    vdd d_minus = vdd_add(vdd_add_d(twice, two), e2);
    vdm plus = vd_gt(x, vd_zero());
    vdd q = vdd_div(vdd_sel(plus, n_plus, n_minus), vdd_sel(plus, d_plus, d_minus));
    k = vd_sel(plus, vd_zero(), k);
    vd y = vd_scale(vdd_round(vdd_mul_d(q, vd_max(vd_set1(-1400), x))), k);
    return vd_copysign(vd_sel(vd_eq(x, inf), inf, y), x);
}

PA_INLINE vd df(vd x)
{
    const vdd x0 = vdd_of(X0, X0_LO), e0 = vdd_of(E0, E0_LO);
    const vd two = vd_set1(2), four = vd_set1(4);
    vd t = vd_clamp(x, -1400, HIGH), k;
    vdd d = vdd_add_d(vdd_neg(x0), t);
    vdd q = vdd_expm1_parts(d, &k);
    vdd h = vdd_mul(e0, vdd_expm1_join(q, k)), m = vdd_mul(e0, vdd_one_plus(q));
    vdd e = vdd_shift(m, vd_power_of_two(k));
    vdd four_e0 = vdd_add_d(e0, four);
    /* e (e + E0 + 4) + E0 (E0 + 4) + 6 + 4 x */
    vdd c = vdd_mul(e, vdd_add(e, four_e0));
    c = vdd_add(c, vdd_add_d(vdd_mul(e0, four_e0), vd_set1(6)));
    c = vdd_add_d(c, vd_mul(four, t));
    vdd b = vdd_mul(vdd_add_d(vdd_shift(e0, four), four), d);
    b = vdd_add(vdd_mul(h, c), b);
    vdd n2 = vdd_add_d(vdd_mul(e, vdd_add_d(e, two)), two);
    return vd_scale(vdd_round(vdd_div(vdd_mul(m, b), vdd_mul(n2, n2))), k);
}

#else

#define LOW (-130.0)

PA_INLINE vd f(vd x)
{
    const vd two = vd_set1(2);
    vd e = vd_exp(vd_clamp(x, LOW, HIGH));
    vd n = vd_mul(e, vd_add(e, two));
    return vd_mul(vd_max(vd_set1(LOW), x), vd_div(n, vd_add(n, two)));
}

PA_INLINE vd df(vd x)
{
    vd t = vd_clamp(x, LOW, HIGH), s, q;
    vd d = vd_sub(vd_sub(t, vd_set1(X0)), vd_set1(X0_LO));
    vd_exp_parts(d, &s, &q);
    vd h = vd_mul(vd_set1(E0), vd_fma(s, q, vd_sub(s, vd_set1(1))));
    vd e = vd_mul(vd_set1(E0), vd_fma(s, q, s));
    /* e^2 + (4 + E0) e + (E0^2 + 4 E0 + 6) + 4 x */
    vd k = vd_fma(vd_set1(4), t, vd_set1(E0 * E0 + 4 * E0 + 6));
    k = vd_fma(e, vd_add(e, vd_set1(4 + E0)), k);
    vd b = vd_fma(h, k, vd_mul(vd_set1(4 + 4 * E0), d));
    vd n2 = vd_fma(e, vd_add(e, vd_set1(2)), vd_set1(2));
    return vd_div(vd_mul(e, b), vd_mul(n2, n2));
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd *y, vd *dy)
{
    const vd two = vd_set1(2);
    vd t = vd_clamp(x, LOW, HIGH), s, q;
    vd d = vd_sub(vd_sub(t, vd_set1(X0)), vd_set1(X0_LO));
    vd_exp_parts(d, &s, &q);
    vd h = vd_mul(vd_set1(E0), vd_fma(s, q, vd_sub(s, vd_set1(1))));
    vd e = vd_mul(vd_set1(E0), vd_fma(s, q, s));
    vd k = vd_fma(vd_set1(4), t, vd_set1(E0 * E0 + 4 * E0 + 6));
    k = vd_fma(e, vd_add(e, vd_set1(4 + E0)), k);
    vd b = vd_fma(h, k, vd_mul(vd_set1(4 + 4 * E0), d));
    vd n = vd_mul(e, vd_add(e, two));
    vd r = vd_div(vd_set1(1), vd_add(n, two));
    *y = vd_mul(vd_max(vd_set1(LOW), x), vd_mul(n, r));
    *dy = vd_mul(vd_mul(e, r), vd_mul(b, r));
}

#define MAP_ROUND_F  11
#define MAP_ROUND_DF 13

static pa_dd exact_f(double x)
{
    pa_dd e = pa_dd_exp((pa_dd){x < HIGH ? x : HIGH, 0});
    pa_dd n = pa_dd_mul(e, pa_dd_add_d(e, 2));
    return pa_dd_mul_d(pa_dd_div(n, pa_dd_add_d(n, 2)), x);
}

static pa_dd exact_df(double x)
{
    double t = x < HIGH ? x : HIGH;
    pa_dd e = pa_dd_exp((pa_dd){t, 0});
    pa_dd b = pa_dd_mul(e, pa_dd_add_d(pa_dd_mul(e, pa_dd_add_d(e, 4)), 6));
    b = pa_dd_add(pa_dd_add_d(b, 4), pa_dd_mul_d(pa_dd_add_d(e, 1), 4 * t));
    pa_dd n2 = pa_dd_add_d(pa_dd_mul(e, pa_dd_add_d(e, 2)), 2);
    return pa_dd_div(pa_dd_mul(e, b), pa_dd_mul(n2, n2));
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_mish) = {
    .name = "mish",
    .formula = "x tanh(ln(1 + exp(x)))",
    PA_MAP_MEMBERS,
};
