/* hard_sigmoid - y = min(max((x + 3) / 6, 0), 1)
 *
 * Derivative: 1/6 for |x| < 3, else 0; so 0 at +-3.
 * Method: as written; for float64 the sum is held in two doubles. For float32, ties
 * between two floats are exact in double and nothing else comes near one, so the rounding
 * is right. */
#include "simd/math.h"

PA_INLINE vd f(vd x)
{
    const vd three = vd_set1(3);
    vd b = vd_clamp(x, -3, 3);
#ifdef PA_REAL_IS_DOUBLE
    return vdd_round(vdd_div(vdd_two_sum(b, three), vdd_of(6, 0)));
#else
    return vd_div(vd_add(b, three), vd_set1(6));
#endif
}

PA_INLINE vd df(vd x)
{
    vd y = vd_sel(vd_lt(vd_abs(x), vd_set1(3)), vd_set1(1.0 / 6), vd_zero());
    return vd_sel(vd_ne(x, x), x, y);
}

#include "kern/map.h"

const pa_op PA_(pa_op_hard_sigmoid) = {
    .name = "hard_sigmoid",
    .formula = "min(max((x + 3) / 6, 0), 1)",
    PA_MAP_MEMBERS,
};
