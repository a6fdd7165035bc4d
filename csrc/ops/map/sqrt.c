/* sqrt - y = sqrt(x)
 *
 * Derivative: 1 / (2 sqrt(x)); inf at 0.
 * Special: sqrt(x) = NaN for x < 0, and so is its derivative; sqrt(-0) = -0.
 * Method: the processor's root. For float32 the root of the widened input, rounded twice,
 * is right all the same, since 53 >= 2 * 24 + 2; so is 1 / x. */
#include "base/dd.h"
#include "simd/vdd.h"

#define MAP_FLAGS PA_MAP_INVALID

PA_INLINE vd f(vd x)
{
    return vd_sqrt(x);
}

PA_INLINE vd df(vd x)
{
    vd s = vd_sqrt(x), y = vd_div(vd_set1(0.5), s);
#ifdef PA_REAL_IS_DOUBLE
    /* the root's own error is (x - s^2) / (2 s) */
    vdd p = vdd_prod(s, s);
    vdd root = {s, vd_mul(vd_sub(vd_sub(x, p.h), p.l), y)};
    vd better = vdd_round(vdd_div(vdd_of(0.5, 0), root));
    vdm inside = vdm_and(vd_gt(x, vd_set1(0x1p-900)), vd_lt(x, vd_set1(0x1p900)));
    y = vd_sel(inside, better, y);
#endif
    return y;
}

#ifndef PA_REAL_IS_DOUBLE
#define MAP_ROUND_DF 4

static pa_dd exact_df(double x)
{
    return pa_dd_div((pa_dd){0.5, 0}, pa_dd_sqrt(x));
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_sqrt) = {
    .name = "sqrt",
    .formula = "sqrt(x)",
    PA_MAP_MEMBERS,
};
