/* gate.h - sigmoid and tanh in the lanes of the dtype, for the gates of recurrent layers.
 *
 * In float32 they err by 2.4 ULP at most (measured; below -87 sigmoid stays e^-87) where
 * the ufuncs err by half an ULP, and are four times as fast as those: a step of an LSTM
 * asks for five of them per unit, and what it computes from them is added to sums that
 * err by more. In float64 they rest on vd_exp.
 *
 *     sigmoid(x) = 1 / (1 + e) for x >= 0, else e / (1 + e), e = exp(-|x|)
 *     tanh(x) = w / (w + 2), w = expm1(2x)
 *
 * exp(t) = s + s q with s = 2^k, t = k ln 2 + r, q = r + r^2 h(r); h was found by
 * weighted least squares at Chebyshev nodes, the weights adapted until the error was
 * level: 2^-31.9 of expm1(r). */
#ifndef PA_SIMD_GATE_H
#define PA_SIMD_GATE_H

#include "simd/math.h"

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE void pa_gate_exp(vr t, vr *s, vr *q)
{
    vd_exp_parts(t, s, q);
}
#define PA_GATE_LOW  700.0
#define PA_GATE_WIDE 44.0

#else

/* For |t| <= 87; NaN gives q = NaN. */
PA_INLINE void pa_gate_exp(vr t, vr *s, vr *q)
{
    const vf magic = vf_set1(0x1.8p23f + 127);
    vf m = vf_fma(t, vf_set1(0x1.715476p+0f), magic);
    vf k = vf_sub(m, magic);
    *s = vf_power_of_two(m);
    vf r = vf_fnma(k, vf_set1(0x1.62e4p-1f), t); /* exact: k has 8 bits, the factor 15 */
    r = vf_fnma(k, vf_set1(0x1.7f7d1cp-20f), r);
    vf z = vf_mul(r, r);
    vf even = vf_fma(vf_set1(0x1.6d723ep-10f), z, vf_set1(0x1.5554b0p-5f));
    vf odd = vf_fma(vf_set1(0x1.a032c2p-13f), z, vf_set1(0x1.11118ap-7f));
    even = vf_fma(even, z, vf_set1(0.5f));
    odd = vf_fma(odd, z, vf_set1(0x1.555554p-3f));
    *q = vf_fma(z, vf_fma(odd, r, even), r);
}
#define PA_GATE_LOW  87.0f
#define PA_GATE_WIDE 20.0f

#endif

PA_INLINE vr pa_gate_sigmoid(vr x)
{
    const vr one = vr_set1(1);
    vr s, q;
    pa_gate_exp(vr_max(vr_set1(-PA_GATE_LOW), vr_neg(vr_abs(x))), &s, &q);
    vr e = vr_fma(s, q, s);
    vr top = vr_sel(vr_lt(x, vr_zero()), e, one);
    return vr_div(top, vr_add(one, e));
}

PA_INLINE vr pa_gate_tanh(vr x)
{
    /* of |x|: where w is large its error hardly counts */
    vr s, q, t = vr_abs(vr_add(x, x));
    pa_gate_exp(vr_min(vr_set1(PA_GATE_WIDE), t), &s, &q);
    vr w = vr_fma(s, q, vr_sub(s, vr_set1(1)));
    vr y = vr_div(w, vr_add(w, vr_set1(2)));
    return vr_sel(vr_lt(x, vr_zero()), vr_neg(y), y);
}

/* The derivatives from the values: good to an ULP of 1. */
PA_INLINE vr pa_gate_dsigmoid(vr y)
{
    return vr_fnma(y, y, y);
}

PA_INLINE vr pa_gate_dtanh(vr y)
{
    return vr_fnma(y, y, vr_set1(1));
}

#endif
