/* relu - y = max(x, 0)
 *
 * Derivative: 1 for x > 0, else 0; relu'(0) = 0.
 * Special: relu(-0) = 0; NaN stays NaN, in the derivative too.
 * Method: exact, in the dtype's own lanes. */
#include "simd/simd.h"

#define MAP_IN_REAL

PA_INLINE vr f(vr x)
{
    /* the order keeps NaN, and the sum makes -0 a 0 */
    return vr_add(vr_max(vr_zero(), x), vr_zero());
}

PA_INLINE vr df(vr x)
{
    vr y = vr_sel(vr_gt(x, vr_zero()), vr_set1(1), vr_zero());
    return vr_sel(vr_ne(x, x), x, y);
}

PA_INLINE void quick_vectors(const int n, const vr *x, vr *y, vr *slope)
{
    for (int j = 0; j < n; j++) {
        y[j] = f(x[j]);
        slope[j] = df(x[j]);
    }
}

enum { QUICK_VECS = 4 };
#define MAP_EXACT
#include "kern/quick.h"

#include "kern/map.h"

const pa_op PA_(pa_op_relu) = {
    .name = "relu",
    .formula = "max(x, 0)",
    PA_MAP_MEMBERS,
};
