/* softplus - y = ln(1 + exp(x)) = max(x, 0) + log1p(e), e = exp(-|x|)
 *
 * Derivative: sigmoid(x) = 1 / (1 + exp(-x)).
 * Special: softplus(-inf) = 0, softplus(inf) = inf, y'(-inf) = 0, y'(inf) = 1.
 * Method: exp of simd/math.h; log1p(e) = e P(e) / Q(e) on [0, 1], for float32 of degrees
 * 5/5, 2^-48.1; for float64 7/7, 2^-66.3 (relative errors; found as in gelu.c). */
#include "base/dd.h"
#include "simd/math.h"

#ifdef PA_REAL_IS_DOUBLE
#define CLAMP 708.0
static const double l_p[] = {0x1.0000000000000p+0,  0x1.74b144f9c7a90p+1,
                             0x1.9e0cd7ff50010p+1,  0x1.b70fdcb4dba41p+0,
                             0x1.c57f4e475ca27p-2,  0x1.9c323c1da0e54p-5,
                             0x1.e3c9f3b295dd3p-10, 0x1.2a55ea8cc8fc0p-18};
static const double l_q[] = {0x1.0000000000000p+0, 0x1.b4b144f9c7a90p+1,
                             0x1.26dd67e8c4957p+2, 0x1.90d4e9efefd58p+1,
                             0x1.2032f7951ce9bp+0, 0x1.a4e9abfa34d83p-3,
                             0x1.0eb5444f0d3ffp-6, 0x1.a3799ed49fa2bp-12};
#else
#define CLAMP 120.0
static const double l_p[] = {0x1.fffffffffffe2p-1, 0x1.fdfab8f9715c5p+0,
                             0x1.50d62de57f55cp+0, 0x1.4deb90c616221p-2,
                             0x1.8ae4e4cbfa70ap-6, 0x1.f4a069ca9c9a0p-14};
static const double l_q[] = {0x1.0000000000000p+0, 0x1.3efd5c7cb811dp+1,
                             0x1.1d3f1a8693469p+1, 0x1.b8222cbe328eap-1,
                             0x1.12ac430d6f1e1p-3, 0x1.8939f77a28030p-8};
#endif
#define COUNT(c) ((int)(sizeof(c) / sizeof *(c)))

PA_INLINE vd f(vd x)
{
    vd e = vd_exp(vd_max(vd_set1(-CLAMP), vd_neg(vd_abs(x))));
    vd l = vd_mul(e, vd_poly(l_p, COUNT(l_p), e));
    l = vd_div(l, vd_poly(l_q, COUNT(l_q), e));
    return vd_add(vd_max(vd_zero(), x), l);
}

PA_INLINE vd df(vd x)
{
    const vd one = vd_set1(1);
    vd e = vd_exp(vd_neg(vd_clamp(x, -CLAMP, CLAMP)));
    return vd_div(one, vd_add(one, e));
}

#ifndef PA_REAL_IS_DOUBLE
#define MAP_ROUND_F  11
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x)
{
    pa_dd l = pa_dd_log1p(pa_dd_exp((pa_dd){-fabs(x), 0}));
    return x > 0 ? pa_dd_add_d(l, x) : l;
}

static pa_dd exact_df(double x)
{
    pa_dd e = pa_dd_exp((pa_dd){-x, 0});
    return pa_dd_div((pa_dd){1, 0}, pa_dd_add_d(e, 1));
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_softplus) = {
    .name = "softplus",
    .formula = "ln(1 + exp(x))",
    PA_MAP_MEMBERS,
};
