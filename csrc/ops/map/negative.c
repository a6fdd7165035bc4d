/* negative - y = -x
 *
 * Derivative: -1 (NaN for NaN).
 * Method: exact, in the dtype's own lanes. */
#include "simd/simd.h"

#define MAP_IN_REAL

PA_INLINE vr f(vr x)
{
    return vr_neg(x);
}

PA_INLINE vr df(vr x)
{
    return vr_sel(vr_ne(x, x), x, vr_set1(-1));
}

#include "kern/map.h"

const pa_op PA_(pa_op_negative) = {
    .name = "negative",
    .formula = "-x",
    PA_MAP_MEMBERS,
};
