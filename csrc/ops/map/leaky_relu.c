/* leaky_relu - y = x for x > 0, alpha x otherwise
 *
 * Derivative: 1 for x > 0, else alpha; leaky_relu'(0) = alpha.
 * Special: an array of alphas makes it PReLU.
 * Method: one product, rounded once, in the dtype's own lanes.
 * Reference: Maas, Hannun and Ng (2013), whose alpha is the default. */
#include "simd/simd.h"

#define MAP_IN_REAL
#define MAP_PARAM

PA_INLINE vr f(vr x, vr alpha)
{
    return vr_sel(vr_gt(x, vr_zero()), x, vr_mul(alpha, x));
}

PA_INLINE vr df(vr x, vr alpha)
{
    vr y = vr_sel(vr_gt(x, vr_zero()), vr_set1(1), alpha);
    return vr_sel(vr_ne(x, x), x, y);
}

#include "kern/map.h"

static const pa_attr_desc attrs[] = {
    {"alpha", PA_ATTR_REAL, 0.01, -HUGE_VAL, HUGE_VAL, "slope for x <= 0"},
    {0},
};

const pa_op PA_(pa_op_leaky_relu) = {
    .name = "leaky_relu",
    .formula = "x if x > 0 else alpha x",
    .attrs = attrs,
    PA_MAP_MEMBERS,
};
