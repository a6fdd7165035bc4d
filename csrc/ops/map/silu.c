/* silu - y = x / (1 + exp(-beta x)); also called swish
 *
 * Derivative, with z = beta x, a = |z| and E = exp(-a):
 *     w = E (1 + E - a) / (1 + E)^2,    y' = w for z <= 0, 1 - w for z > 0.
 * 1 + E - a has its root at a0 = 1.2784645... With d = a - a0 and E0 = exp(-a0) it is
 *     E0 expm1(-d) - d,
 * two terms of one sign, so w keeps all digits at the root.
 * Special: silu(-0) = -0, silu(-inf) = -0, y'(inf) = 1, y'(-inf) = -0.
 * Method: exp of simd/math.h; E is E0 exp(-d), not E0 + E0 expm1(-d), which would cancel
 * for large d. a0 is held in two doubles.
 * Reference: Elfwing, Uchibe and Doya (2018); Ramachandran, Zoph and Le (2017). */
#include "base/dd.h"
#include "simd/math.h"

#define MAP_PARAM

#define A0    0x1.474973c84120bp+0
#define A0_LO 0x1.f8d74bc9ac154p-54
#define E0    0x1.1d25cf210482ep-2
#define E0_LO (-0x1.ca2d0d94faaecp-60)

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x, vd beta)
{
    const vd inf = vd_set1((double)INFINITY);
    vd k;
    vdd z = vdd_prod(beta, x);
    z.l = vd_sel(vd_lt(vd_abs(z.h), vd_set1(1e300)), z.l, vd_zero());
    vdd q = vdd_sigmoid_parts(z, &k);
    /* so far down that only the sign is left, even of -inf times 0 */
    vd b = vd_sel(vd_lt(z.h, vd_set1(-1500)), vd_copysign(vd_set1(1), x), x);
    vd y = vd_scale(vdd_round(vdd_mul_d(q, b)), k);
    return vd_copysign(vd_sel(vd_eq(b, inf), inf, y), x);
}

PA_INLINE vd df(vd x, vd beta)
{
    vd k;
    vdd z = vdd_prod(beta, x);
    z.l = vd_sel(vd_lt(vd_abs(z.h), vd_set1(1e300)), z.l, vd_zero());
    vdd t = vdd_minus_abs(z);
    vdd q = vdd_expm1_parts(vdd_add(t, vdd_of(A0, A0_LO)), &k); /* of -d */
    vdd e0 = vdd_of(E0, E0_LO), e = vdd_mul(e0, vdd_one_plus(q));
    vdd root = vdd_mul(e0, vdd_expm1_join(q, k));
    root = vdd_add(root, vdd_add(t, vdd_of(A0, A0_LO)));
    vdd b = vdd_one_plus_scaled(e, k);
    vdd w = vdd_div(vdd_mul(e, root), vdd_mul(b, b));
    vdd one_minus = vdd_sub(vdd_of(1, 0), vdd_shift(w, vd_power_of_two(k)));
    vd y = vd_scale(vdd_round(w), k);
    return vd_sel(vd_gt(z.h, vd_zero()), vdd_round(one_minus), y);
}

#else

#define CLAMP 400.0 /* a huge x lifts exp(z) from below float32's range */
#define MOST  0x1p200

PA_INLINE vd f(vd x, vd beta)
{
    vd e = vd_exp(vd_neg(vd_clamp(vd_mul(beta, x), -CLAMP, CLAMP)));
    /* -inf / inf does not arise */
    return vd_div(vd_max(vd_set1(-MOST), x), vd_add(vd_set1(1), e));
}

PA_INLINE vd df(vd x, vd beta)
{
    const vd one = vd_set1(1);
    vd z = vd_mul(beta, x), s, q;
    vd a = vd_min(vd_set1(CLAMP), vd_abs(z));
    vd d = vd_sub(vd_sub(a, vd_set1(A0)), vd_set1(A0_LO));
    vd_exp_parts(vd_neg(d), &s, &q);
    vd m = vd_fma(s, q, vd_sub(s, one));
    vd e = vd_mul(vd_set1(E0), vd_fma(s, q, s));
    vd root = vd_sub(vd_mul(vd_set1(E0), m), d);
    vd b = vd_add(one, e);
    vd w = vd_div(vd_mul(e, root), vd_mul(b, b));
    return vd_sel(vd_gt(z, vd_zero()), vd_sub(one, w), w);
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd beta, vd *y, vd *dy)
{
    const vd one = vd_set1(1);
    vd z = vd_mul(beta, x), s, q;
    vdm plus = vd_gt(z, vd_zero());
    vd a = vd_min(vd_set1(CLAMP), vd_abs(z));
    vd d = vd_sub(vd_sub(a, vd_set1(A0)), vd_set1(A0_LO));
    vd_exp_parts(vd_neg(d), &s, &q);
    vd m = vd_fma(s, q, vd_sub(s, one));
    vd e = vd_mul(vd_set1(E0), vd_fma(s, q, s));
    vd root = vd_sub(vd_mul(vd_set1(E0), m), d);
    vd r = vd_div(one, vd_add(one, e)), er = vd_mul(e, r);
    vd w = vd_mul(er, vd_mul(root, r));
    *y = vd_mul(vd_max(vd_set1(-MOST), x), vd_sel(plus, r, er));
    *dy = vd_sel(plus, vd_sub(one, w), w);
}

#define MAP_ROUND_F  11
#define MAP_ROUND_DF 13

static pa_dd exact_f(double x, double beta)
{
    if (fabs(x) < 0x1p-100) /* x/2 may be a tie; the next term decides */
        return (pa_dd){0.5 * x, 0.25 * beta * x * x};
    pa_dd e = pa_dd_exp((pa_dd){-beta * x, 0});
    return pa_dd_div((pa_dd){x, 0}, pa_dd_add_d(e, 1));
}

static pa_dd exact_df(double x, double beta)
{
    double z = beta * x, a = fabs(z);
    pa_dd e = pa_dd_exp((pa_dd){-a, 0}), b = pa_dd_add_d(e, 1);
    pa_dd w = pa_dd_div(pa_dd_mul(e, pa_dd_add_d(b, -a)), pa_dd_mul(b, b));
    return z > 0 ? pa_dd_sub((pa_dd){1, 0}, w) : w;
}
#endif

#include "kern/map.h"

static const pa_attr_desc attrs[] = {
    {"beta", PA_ATTR_REAL, 1, -HUGE_VAL, HUGE_VAL, "steepness of the gate"},
    {0},
};

const pa_op PA_(pa_op_silu) = {
    .name = "silu",
    .formula = "x / (1 + exp(-beta x))",
    .attrs = attrs,
    PA_MAP_MEMBERS,
};
