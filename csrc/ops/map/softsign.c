/* softsign - y = x / (1 + |x|)
 *
 * Derivative: 1 / (1 + |x|)^2.
 * Special: softsign(+-inf) = +-1.
 * Method: as written, with |x| bounded so that inf / inf does not arise. */
#include "base/dd.h"
#include "simd/math.h"

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x)
{
    vd b = vd_clamp(x, -0x1p900, 0x1p900);
    vdd n = {b, vd_zero()};
    return vd_copysign(vdd_round(vdd_div(n, vdd_two_sum(vd_set1(1), vd_abs(b)))), x);
}

PA_INLINE vd df(vd x)
{
    /* squares of small numbers lose bits on the way: scale them by 2^400, and back once
     */
    vd a = vd_min(vd_set1(0x1p900), vd_abs(x)); /* its square is out of range */
    vdm big = vd_gt(a, vd_set1(0x1p400));
    vdd q = vdd_div(vdd_of(1, 0), vdd_two_sum(vd_set1(1), a));
    q = vdd_shift(q, vd_sel(big, vd_set1(0x1p200), vd_set1(1)));
    vd y = vdd_round(vdd_mul(q, q));
    y = vd_mul(y, vd_sel(big, vd_set1(0x1p-400), vd_set1(1)));
    return vd_sel(vd_eq(vd_abs(x), vd_set1((double)INFINITY)), vd_zero(), y);
}

#else

#define HUGE_X 0x1p200

PA_INLINE vd f(vd x)
{
    vd b = vd_clamp(x, -HUGE_X, HUGE_X);
    return vd_div(b, vd_add(vd_set1(1), vd_abs(b)));
}

PA_INLINE vd df(vd x)
{
    const vd one = vd_set1(1);
    vd d = vd_add(one, vd_abs(x));
#ifdef PA_REAL_IS_DOUBLE
    d = vd_div(one, d);
    return vd_mul(d, d);
#else
    return vd_div(one, vd_mul(d, d));
#endif
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd *y, vd *dy)
{
    vd b = vd_clamp(x, -HUGE_X, HUGE_X);
    vd r = vd_div(vd_set1(1), vd_add(vd_set1(1), vd_abs(b)));
    *y = vd_mul(b, r);
    *dy = vd_mul(r, r);
}

#define MAP_ROUND_F  4
#define MAP_ROUND_DF 5

static pa_dd exact_f(double x)
{
    return pa_dd_div((pa_dd){x, 0}, pa_dd_add_d((pa_dd){fabs(x), 0}, 1));
}

static pa_dd exact_df(double x)
{
    pa_dd d = pa_dd_add_d((pa_dd){fabs(x), 0}, 1);
    return pa_dd_div((pa_dd){1, 0}, pa_dd_mul(d, d));
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_softsign) = {
    .name = "softsign",
    .formula = "x / (1 + |x|)",
    PA_MAP_MEMBERS,
};
