/* block.h - exp and log over short arrays of doubles, in place. */
#ifndef PA_KERN_BLOCK_H
#define PA_KERN_BLOCK_H

#include "simd/math.h"

/* exp of x: (n,); arguments are cut to +-700, NaN stays. */
static inline void pa_block_exp(double *x, size_t n)
{
    size_t i = 0;
    for (; i + VD_N <= n; i += VD_N)
        vd_store(x + i, vd_exp(vd_clamp(vd_load(x + i), -700, 700)));
    if (i < n) {
        int k = (int)(n - i);
        vd_store_n(x + i, vd_exp(vd_clamp(vd_load_n(x + i, k), -700, 700)), k);
    }
}

/* log(1 + x) of x: (n,) in [0, 1]. 1 + x is rounded; what it lost is added back to first
 * order, so that small x keep their digits. */
PA_INLINE vd pa_vd_log1p(vd x)
{
    const vd one = vd_set1(1);
    vd u = vd_add(one, x), lost = vd_sub(x, vd_sub(u, one));
    return vd_add(vd_log(u), vd_div(lost, u));
}

static inline void pa_block_log1p(double *x, size_t n)
{
    size_t i = 0;
    for (; i + VD_N <= n; i += VD_N)
        vd_store(x + i, pa_vd_log1p(vd_load(x + i)));
    if (i < n) {
        int k = (int)(n - i);
        vd_store_n(x + i, pa_vd_log1p(vd_load_n(x + i, k)), k);
    }
}

#endif
