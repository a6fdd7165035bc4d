/* tanh - y = (e^2x - 1) / (e^2x + 1)
 *
 * Derivative: y' = 4 e / (1 + e)^2 with e = exp(-2|x|), which keeps all digits where
 * 1 - y^2 loses them.
 * Special: tanh(-0) = -0, tanh(+-inf) = +-1, y'(+-inf) = 0.
 * Method: expm1 of simd/math.h, w = expm1(2x), y = w / (w + 2). Fused into the training
 * of float32 layers it is simd/gate.h's, good to 2 ULP: a step of a network with 64 tanh
 * units a layer takes three quarters of the time. */
#include "base/dd.h"
#include "simd/gate.h"
#include "simd/math.h"

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x)
{
    vdd t = {vd_clamp(vd_add(x, x), -44, 44), vd_zero()};
    vdd w = vdd_expm1(t);
    return vd_copysign(vdd_round(vdd_div(w, vdd_add_d(w, vd_set1(2)))), x);
}

PA_INLINE vd df(vd x)
{
    vd k;
    vdd z = {vd_add(x, x), vd_zero()};
    vdd m = vdd_exp_parts(vdd_minus_abs(z), &k), d = vdd_one_plus_scaled(m, k);
    return vd_scale(vdd_round(vdd_div(m, vdd_mul(d, d))), vd_add(k, vd_set1(2)));
}

#else

#define CLAMP 120.0

PA_INLINE vd f(vd x)
{
    vd w = vd_expm1(vd_clamp(vd_add(x, x), -40, 40));
    return vd_copysign(vd_div(w, vd_add(w, vd_set1(2))), x);
}

PA_INLINE vd df(vd x)
{
    vd e = vd_exp(vd_max(vd_set1(-CLAMP), vd_mul(vd_set1(-2), vd_abs(x))));
    vd d = vd_add(vd_set1(1), e);
    return vd_div(vd_mul(vd_set1(4), e), vd_mul(d, d));
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd *y, vd *dy)
{
    vd s, q;
    vd_exp_parts(vd_clamp(vd_add(x, x), -CLAMP, CLAMP), &s, &q);
    vd w = vd_fma(s, q, vd_sub(s, vd_set1(1))), e = vd_fma(s, q, s);
    vd r = vd_div(vd_set1(1), vd_add(w, vd_set1(2)));
    *y = vd_copysign(vd_mul(w, r), x);
    *dy = vd_mul(vd_mul(vd_set1(4), vd_mul(e, r)), r);
}

#define MAP_ROUND_F  12
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x)
{
    pa_dd w = pa_dd_expm1((pa_dd){2 * x, 0});
    return pa_dd_div(w, pa_dd_add_d(w, 2));
}

static pa_dd exact_df(double x)
{
    pa_dd e = pa_dd_exp((pa_dd){-2 * fabs(x), 0}), d = pa_dd_add_d(e, 1);
    return pa_dd_div(pa_dd_mul_d(e, 4), pa_dd_mul(d, d));
}

#ifdef PA_GATE_QUICK

PA_INLINE void quick_vectors(const int n, const vr *x, vr *y, vr *slope)
{
    pa_gate_tanh_both_many(n, x, y, slope);
}

enum { QUICK_VECS = 2 }; /* more have not registers enough */
#include "kern/quick.h"
#endif
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_tanh) = {
    .name = "tanh",
    .formula = "tanh(x)",
    PA_MAP_MEMBERS,
};
