/* gelu_tanh - y = x (1 + tanh(u)) / 2 = x / (1 + exp(-2u)),
 *             2u = C0 x + C1 x^3, C0 = 2 sqrt(2/pi), C1 = 0.044715 C0
 *
 * Derivative: y' = w for x <= 0, 1 - w for x > 0; with a = |x|, E = exp(-2u(a)),
 *     w = E (1 + E - a (C0 + 3 C1 a^2)) / (1 + E)^2.
 * The bracket has its root at a0 = 0.7524614... With d = a - a0, E0 = E(a0) and
 * S = a^2 + a a0 + a0^2 it is
 *     E0 expm1(-d (C0 + C1 S)) - d (C0 + 3 C1 S),
 * two terms of one sign, so w keeps all digits at the root.
 * Special: y(-0) = -0, y(-inf) = -0, y'(inf) = 1, y'(-inf) = -0.
 * Method: exp of simd/math.h; for float32 its argument is good to 2^-51 relative.
 * Reference: Hendrycks and Gimpel (2016). */
#include "base/dd.h"
#include "simd/math.h"

#define C0     0x1.9884533d43651p+0
#define C0_LO  (-0x1.cbc0d30ebfd15p-54)
#define C1     0x1.2444f2a4d8b4bp-4
#define C1_LO  (-0x1.6c843a29d1c70p-61)
#define C13    0x1.b6676bf7450f0p-3
#define C13_LO 0x1.bba7351828aabp-57
#define A0     0x1.81429f9e97e4dp-1
#define A0_LO  (-0x1.4f523ed77dbdcp-55)
#define E0     0x1.2af64e9c485eep-2
#define E0_LO  (-0x1.3ca470b477afcp-57)

#ifdef PA_REAL_IS_DOUBLE

/* c0 + c1 s */
PA_INLINE vdd slope(vdd s, double c1, double c1_lo)
{
    return vdd_add(vdd_of(C0, C0_LO), vdd_mul(vdd_of(c1, c1_lo), s));
}

PA_INLINE vd f(vd x)
{
    const vd inf = vd_set1((double)INFINITY);
    vd k, b = vd_clamp(x, -30, 30);
    vdd z = vdd_mul_d(slope(vdd_prod(b, b), C1, C1_LO), b);
    vdd q = vdd_sigmoid_parts(z, &k);
    vd y = vd_scale(vdd_round(vdd_mul_d(q, vd_max(vd_set1(-30), x))), k);
    return vd_copysign(vd_sel(vd_eq(x, inf), inf, y), x);
}

PA_INLINE vd df(vd x)
{
    const vdd a0 = vdd_of(A0, A0_LO), e0 = vdd_of(E0, E0_LO);
    vd a = vd_min(vd_set1(24), vd_abs(x)), k;
    vdd d = vdd_sub(a0, vdd_add_d(vdd_of(0, 0), a)); /* -d */
    vdd s = vdd_mul_d(vdd_add_d(a0, a), a);
    s = vdd_add(s, vdd_mul(a0, a0));
    vdd q = vdd_expm1_parts(vdd_mul(d, slope(s, C1, C1_LO)), &k);
    vdd e = vdd_mul(e0, vdd_one_plus(q));
    vdd root = vdd_mul(e0, vdd_expm1_join(q, k));
    root = vdd_add(root, vdd_mul(d, slope(s, C13, C13_LO)));
    vdd b = vdd_one_plus_scaled(e, k);
    vdd w = vdd_div(vdd_mul(e, root), vdd_mul(b, b));
    vdd one_minus = vdd_sub(vdd_of(1, 0), vdd_shift(w, vd_power_of_two(k)));
    vd y = vd_scale(vdd_round(w), k);
    return vd_sel(vd_gt(x, vd_zero()), vdd_round(one_minus), y);
}

#else

#define CLAMP 12.0

PA_INLINE vd f(vd x)
{
    vd b = vd_clamp(x, -CLAMP, CLAMP);
    vd slope = vd_fma(vd_set1(C1), vd_mul(b, b), vd_set1(C0));
    vd e = vd_exp(vd_neg(vd_mul(b, slope)));
    return vd_div(vd_max(vd_set1(-CLAMP), x), vd_add(vd_set1(1), e));
}

PA_INLINE vd df(vd x)
{
    const vd one = vd_set1(1);
    vd a = vd_min(vd_set1(CLAMP), vd_abs(x)), s, q;
    vd d = vd_sub(vd_sub(a, vd_set1(A0)), vd_set1(A0_LO));
    vd sum = vd_fma(a, vd_add(a, vd_set1(A0)), vd_set1(A0 * A0));
    vd slope = vd_fma(vd_set1(C1), sum, vd_set1(C0));
    vd slope3 = vd_fma(vd_set1(C13), sum, vd_set1(C0));
    vd_exp_parts(vd_neg(vd_mul(d, slope)), &s, &q);
    vd m = vd_fma(s, q, vd_sub(s, one));
    vd e = vd_mul(vd_set1(E0), vd_fma(s, q, s));
    vd root = vd_fnma(d, slope3, vd_mul(vd_set1(E0), m));
    vd b = vd_add(one, e);
    vd w = vd_div(vd_mul(e, root), vd_mul(b, b));
    return vd_sel(vd_gt(x, vd_zero()), vd_sub(one, w), w);
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd *y, vd *dy)
{
    const vd one = vd_set1(1);
    vdm plus = vd_gt(x, vd_zero());
    vd a = vd_min(vd_set1(CLAMP), vd_abs(x)), s, q;
    vd d = vd_sub(vd_sub(a, vd_set1(A0)), vd_set1(A0_LO));
    vd sum = vd_fma(a, vd_add(a, vd_set1(A0)), vd_set1(A0 * A0));
    vd slope = vd_fma(vd_set1(C1), sum, vd_set1(C0));
    vd slope3 = vd_fma(vd_set1(C13), sum, vd_set1(C0));
    vd_exp_parts(vd_neg(vd_mul(d, slope)), &s, &q);
    vd m = vd_fma(s, q, vd_sub(s, one));
    vd e = vd_mul(vd_set1(E0), vd_fma(s, q, s));
    vd root = vd_fnma(d, slope3, vd_mul(vd_set1(E0), m));
    vd r = vd_div(one, vd_add(one, e)), er = vd_mul(e, r);
    vd w = vd_mul(er, vd_mul(root, r));
    *y = vd_mul(vd_max(vd_set1(-CLAMP), x), vd_sel(plus, r, er));
    *dy = vd_sel(plus, vd_sub(one, w), w);
}

#define MAP_ROUND_F  11
#define MAP_ROUND_DF 13

/* c0 + c1 x^2 */
static pa_dd slope(double x, double c1_times)
{
    pa_dd c1 = pa_dd_mul_d((pa_dd){C1, C1_LO}, c1_times);
    return pa_dd_add((pa_dd){C0, C0_LO}, pa_dd_mul(c1, pa_dd_mul_dd(x, x)));
}

static pa_dd exact_f(double x)
{
    if (fabs(x) < 0x1p-100) /* x/2 may be a tie; the next term decides */
        return (pa_dd){0.5 * x, 0.25 * C0 * x * x};
    pa_dd e = pa_dd_exp(pa_dd_mul_d(slope(x, 1), -x));
    return pa_dd_div((pa_dd){x, 0}, pa_dd_add_d(e, 1));
}

static pa_dd exact_df(double x)
{
    double a = fabs(x);
    pa_dd e = pa_dd_exp(pa_dd_mul_d(slope(a, 1), -a)), b = pa_dd_add_d(e, 1);
    pa_dd root = pa_dd_sub(b, pa_dd_mul_d(slope(a, 3), a));
    pa_dd w = pa_dd_div(pa_dd_mul(e, root), pa_dd_mul(b, b));
    return x > 0 ? pa_dd_sub((pa_dd){1, 0}, w) : w;
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_gelu_tanh) = {
    .name = "gelu_tanh",
    .formula = "x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2",
    PA_MAP_MEMBERS,
};
