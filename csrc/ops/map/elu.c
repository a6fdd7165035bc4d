/* elu - y = x for x > 0, alpha (exp(x) - 1) otherwise
 *
 * Derivative: 1 for x > 0, else alpha exp(x); elu'(0) = alpha.
 * Special: elu(-0) = -0, elu(-inf) = -alpha, y'(-inf) = 0.
 * Method: expm1 of simd/math.h.
 * Reference: Clevert, Unterthiner and Hochreiter (2016). */
#include "base/dd.h"
#include "simd/math.h"

#define MAP_PARAM

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x, vd alpha)
{
    vdd t = {vd_clamp(x, -700, 0), vd_zero()};
    vd y = vdd_round(vdd_mul_d(vdd_expm1(t), alpha));
    return vd_sel(vd_ge(x, vd_zero()), x, y);
}

PA_INLINE vd df(vd x, vd alpha)
{
    vd k;
    vdd t = {vd_clamp(x, -1400, 0), vd_zero()};
    vdd m = vdd_exp_parts(t, &k);
    vd y = vd_scale(vdd_round(vdd_mul_d(m, alpha)), k);
    return vd_sel(vd_gt(x, vd_zero()), vd_set1(1), y);
}

#else

#define LOW (-400.0) /* a huge alpha may lift exp(x) from below float32's range */

PA_INLINE vd f(vd x, vd alpha)
{
    vd y = vd_mul(alpha, vd_expm1(vd_clamp(x, LOW, 0)));
    return vd_sel(vd_ge(x, vd_zero()), x, y);
}

PA_INLINE vd df(vd x, vd alpha)
{
    vd y = vd_mul(alpha, vd_exp(vd_clamp(x, LOW, 0)));
    return vd_sel(vd_gt(x, vd_zero()), vd_set1(1), y);
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd alpha, vd *y, vd *dy)
{
    const vd zero = vd_zero(), one = vd_set1(1);
    vd s, q;
    vd_exp_parts(vd_clamp(x, LOW, 0), &s, &q);
    vd w = vd_mul(alpha, vd_fma(s, q, vd_sub(s, one)));
    vd e = vd_mul(alpha, vd_fma(s, q, s));
    *y = vd_sel(vd_ge(x, zero), x, w);
    *dy = vd_sel(vd_gt(x, zero), one, e);
}

#define MAP_ROUND_F  12
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x, double alpha)
{
    return x >= 0 ? (pa_dd){x, 0} : pa_dd_mul_d(pa_dd_expm1((pa_dd){x, 0}), alpha);
}

static pa_dd exact_df(double x, double alpha)
{
    return x > 0 ? (pa_dd){1, 0} : pa_dd_mul_d(pa_dd_exp((pa_dd){x, 0}), alpha);
}
#endif

#include "kern/map.h"

static const pa_attr_desc attrs[] = {
    {"alpha", PA_ATTR_REAL, 1, -HUGE_VAL, HUGE_VAL, "minus the limit for x to -inf"},
    {0},
};

const pa_op PA_(pa_op_elu) = {
    .name = "elu",
    .formula = "x if x > 0 else alpha (exp(x) - 1)",
    .attrs = attrs,
    PA_MAP_MEMBERS,
};
