/* log - y = ln(x)
 *
 * Derivative: 1 / x.
 * Special: log(0) = -inf (divide by zero), log(x) = NaN for x < 0 (invalid), and NaN is
 * its derivative there too.
 * Method: log of simd/math.h. */
#include "base/dd.h"
#include "simd/math.h"

#define MAP_FLAGS PA_MAP_INVALID

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x)
{
    const vd zero = vd_zero(), inf = vd_set1((double)INFINITY);
    vdm small = vd_lt(x, vd_set1(0x1p-1022));
    vdd y = vdd_log(vd_sel(small, vd_mul(x, vd_set1(0x1p54)), x));
    vdd shift = vdd_mul_d(vdd_of(0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56),
                          vd_sel(small, vd_set1(-54), zero));
    vd r = vdd_round(vdd_add(y, shift));
    r = vd_sel(vd_lt(x, inf), r, x); /* inf and NaN stay */
    r = vd_sel(vd_eq(x, zero), vd_neg(inf), r);
    return vd_sel(vd_lt(x, zero), vd_set1((double)NAN), r);
}

#else

PA_INLINE vd f(vd x)
{
    const vd zero = vd_zero(), inf = vd_set1((double)INFINITY);
    vd y = vd_log(x);
    y = vd_sel(vd_lt(x, inf), y, x); /* inf and NaN stay */
    y = vd_sel(vd_eq(x, zero), vd_neg(inf), y);
    return vd_sel(vd_lt(x, zero), vd_set1((double)NAN), y);
}

#define MAP_ROUND_F 11

static pa_dd exact_f(double x)
{
    return pa_dd_log(x);
}
#endif

PA_INLINE vd df(vd x)
{
    vd y = vd_div(vd_set1(1), x);
    return vd_sel(vd_lt(x, vd_zero()), vd_set1((double)NAN), y);
}

#include "kern/map.h"

const pa_op PA_(pa_op_log) = {
    .name = "log",
    .formula = "ln(x)",
    PA_MAP_MEMBERS,
};
