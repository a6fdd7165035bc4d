/* log - y = ln(x)
 *
 * Derivative: 1 / x.
 * Special: log(0) = -inf (divide by zero), log(x) = NaN for x < 0 (invalid), and NaN is
 * its derivative there too.
 * Method: log of simd/math.h. */
#include "base/dd.h"
#include "simd/math.h"

#define MAP_FLAGS PA_MAP_INVALID

/* -inf for x = 0 and NaN for x < 0, with the flags that IEEE asks for; else y. */
PA_INLINE vd poles(vd x, vd y)
{
    vdm outside = vd_le(x, vd_zero());
    if (vdm_any(outside)) {
        vd b = vd_sel(outside, x, vd_set1(1));
        vd at_zero = vd_div(vd_set1(-1), vd_abs(b));
        y = vd_sel(outside, vd_sel(vd_eq(b, vd_zero()), at_zero, vd_sqrt(b)), y);
    }
    return y;
}

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd v)
{
    vdm number = vd_eq(v, v); /* comparing NaN may raise `invalid` */
    vd x = vd_sel(number, v, vd_set1(1));
    const vd zero = vd_zero(), inf = vd_set1((double)INFINITY);
    vdm small = vd_lt(x, vd_set1(0x1p-1022));
    vdd y = vdd_log(vd_sel(small, vd_mul(x, vd_set1(0x1p54)), x));
    vdd shift = vdd_mul_d(vdd_of(0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56),
                          vd_sel(small, vd_set1(-54), zero));
    vd r = vdd_round(vdd_add(y, shift));
    r = vd_sel(vd_lt(x, inf), r, x); /* inf stays */
    return vd_sel(number, poles(x, r), v);
}

#else

PA_INLINE vd f(vd v)
{
    vdm number = vd_eq(v, v); /* comparing NaN may raise `invalid` */
    vd x = vd_sel(number, v, vd_set1(1));
    vd y = vd_log(x);
    y = vd_sel(vd_lt(x, vd_set1((double)INFINITY)), y, x); /* inf stays */
    return vd_sel(number, poles(x, y), v);
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
    vdm outside = vd_lt(vd_sel(vd_eq(x, x), x, vd_zero()), vd_zero());
    if (vdm_any(outside))
        y = vd_sel(outside, vd_sqrt(x), y); /* NaN and its flag */
    return y;
}

#include "kern/map.h"

const pa_op PA_(pa_op_log) = {
    .name = "log",
    .formula = "ln(x)",
    PA_MAP_MEMBERS,
};
