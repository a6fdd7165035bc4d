/* square - y = x^2
 *
 * Derivative: 2 x.
 * Method: one product, rounded once, in the dtype's own lanes. */
#include "simd/simd.h"

#define MAP_IN_REAL

PA_INLINE vr f(vr x)
{
    return vr_mul(x, x);
}

PA_INLINE vr df(vr x)
{
    return vr_add(x, x);
}

#include "kern/map.h"

const pa_op PA_(pa_op_square) = {
    .name = "square",
    .formula = "x^2",
    PA_MAP_MEMBERS,
};
