/* abs - y = |x|
 *
 * Derivative: sign(x); abs'(0) = 0.
 * Method: exact, in the dtype's own lanes. */
#include "simd/simd.h"

#define MAP_IN_REAL

PA_INLINE vr f(vr x)
{
    return vr_abs(x);
}

PA_INLINE vr df(vr x)
{
    vr y = vr_sel(vr_gt(x, vr_zero()), vr_set1(1), vr_set1(-1));
    y = vr_sel(vr_eq(x, vr_zero()), vr_zero(), y);
    return vr_sel(vr_ne(x, x), x, y);
}

#include "kern/map.h"

const pa_op PA_(pa_op_abs) = {
    .name = "abs",
    .formula = "|x|",
    PA_MAP_MEMBERS,
};
