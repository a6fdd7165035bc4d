/* exp - y = exp(x)
 *
 * Derivative: exp(x).
 * Special: exp(-inf) = 0, exp(inf) = inf.
 * Method: exp of simd/math.h. */
#include "base/dd.h"
#include "simd/math.h"

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x)
{
    vdm inf = vd_eq(x, vd_set1((double)INFINITY)); /* exact: it must not overflow */
    vd k;
    /* over- and underflow are left to vd_scale */
    vdd t = {vd_clamp(vd_sel(inf, vd_zero(), x), -800, 720), vd_zero()};
    vdd m = vdd_exp_parts(t, &k);
    return vd_sel(inf, x, vd_scale(vdd_round(m), k));
}

#else

PA_INLINE vd f(vd x)
{
    vd y = vd_exp(vd_clamp(x, -120, 120));
    return vd_sel(vd_eq(x, vd_set1((double)INFINITY)), x, y);
}

#define MAP_ROUND_F  11
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x)
{
    return pa_dd_exp((pa_dd){x, 0});
}
#define exact_df     exact_f

#endif

PA_INLINE vd df(vd x)
{
    return f(x);
}

#include "kern/map.h"

const pa_op PA_(pa_op_exp) = {
    .name = "exp",
    .formula = "exp(x)",
    PA_MAP_MEMBERS,
};
