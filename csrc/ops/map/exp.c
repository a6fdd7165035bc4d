/* exp - y = exp(x)
 *
 * Derivative: exp(x).
 * Special: exp(-inf) = 0, exp(inf) = inf.
 * Method: exp of simd/math.h. */
#include "base/dd.h"
#include "simd/math.h"

PA_INLINE vd f(vd x)
{
#ifdef PA_REAL_IS_DOUBLE
    vd y = vd_exp(vd_clamp(x, -708, 709));
#else
    vd y = vd_exp(vd_clamp(x, -120, 120));
#endif
    return vd_sel(vd_eq(x, vd_set1((double)INFINITY)), x, y);
}

PA_INLINE vd df(vd x)
{
    return f(x);
}

#ifndef PA_REAL_IS_DOUBLE
#define MAP_ROUND_F  11
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x)
{
    return pa_dd_exp((pa_dd){x, 0});
}
#define exact_df exact_f
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_exp) = {
    .name = "exp",
    .formula = "exp(x)",
    PA_MAP_MEMBERS,
};
