/* sigmoid - y = 1 / (1 + exp(-x))
 *
 * Derivative: y' = e / (1 + e)^2 with e = exp(-|x|), which keeps all digits in both tails
 * where y (1 - y) loses them.
 * Special: sigmoid(-inf) = 0, sigmoid(inf) = 1, y'(+-inf) = 0.
 * Method: exp of simd/math.h; x beyond +-CLAMP gives what its limit gives. */
#include "base/dd.h"
#include "simd/math.h"

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x)
{
    vd k;
    vdd z = {x, vd_zero()};
    vdd q = vdd_sigmoid_parts(z, &k);
    return vd_scale(vdd_round(q), k);
}

PA_INLINE vd df(vd x)
{
    vd k;
    vdd z = {x, vd_zero()};
    vdd m = vdd_exp_parts(vdd_minus_abs(z), &k), d = vdd_one_plus_scaled(m, k);
    return vd_scale(vdd_round(vdd_div(m, vdd_mul(d, d))), k);
}

#else

#define CLAMP 120.0 /* exp(-104) is already 0 in float32 */

PA_INLINE vd f(vd x)
{
    const vd one = vd_set1(1);
    vd e = vd_exp(vd_neg(vd_clamp(x, -CLAMP, CLAMP)));
    return vd_div(one, vd_add(one, e));
}

PA_INLINE vd df(vd x)
{
    vd e = vd_exp(vd_max(vd_set1(-CLAMP), vd_neg(vd_abs(x))));
    vd d = vd_add(vd_set1(1), e);
    return vd_div(e, vd_mul(d, d));
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd *y, vd *dy)
{
    const vd one = vd_set1(1);
    vd e = vd_exp(vd_max(vd_set1(-CLAMP), vd_neg(vd_abs(x))));
    vd r = vd_div(one, vd_add(one, e)), er = vd_mul(e, r);
    *y = vd_sel(vd_lt(x, vd_zero()), er, r);
    *dy = vd_mul(er, r);
}

#define MAP_ROUND_F  11
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x)
{
    pa_dd e = pa_dd_exp((pa_dd){-x, 0});
    return pa_dd_div((pa_dd){1, 0}, pa_dd_add_d(e, 1));
}

static pa_dd exact_df(double x)
{
    pa_dd e = pa_dd_exp((pa_dd){-fabs(x), 0}), d = pa_dd_add_d(e, 1);
    return pa_dd_div(e, pa_dd_mul(d, d));
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_sigmoid) = {
    .name = "sigmoid",
    .formula = "1 / (1 + exp(-x))",
    PA_MAP_MEMBERS,
};
