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
#ifdef PA_REAL_IS_DOUBLE
    /* s + (x - s^2) / (2 s) is the root; tiny x are scaled, or s^2 would lose bits */
    const vd inf = vd_set1((double)INFINITY);
    vd a = vd_sel(vd_eq(x, x), x, vd_set1(1)); /* comparing NaN may raise `invalid` */
    vdm tiny = vd_lt(a, vd_set1(0x1p-700));
    vdm inside = vdm_and(vd_gt(a, vd_zero()), vd_lt(a, inf));
    vd b = vd_sel(tiny, vd_mul(a, vd_set1(0x1p256)), a);
    b = vd_sel(inside, b, vd_set1(1));
    vd s = vd_sqrt(b), y = vd_div(vd_set1(0.5), s);
    vdd p = vdd_prod(s, s);
    vdd root = {s, vd_mul(vd_sub(vd_sub(b, p.h), p.l), y)};
    vd better = vdd_round(vdd_div(vdd_of(0.5, 0), root));
    better = vd_sel(tiny, vd_mul(better, vd_set1(0x1p128)), better);
    inside = vdm_and(inside, vd_eq(x, x));
    return vd_sel(inside, better, vd_div(vd_set1(0.5), vd_sqrt(x)));
#else
    return vd_div(vd_set1(0.5), vd_sqrt(x));
#endif
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
