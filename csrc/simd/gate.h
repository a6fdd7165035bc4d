/* gate.h - sigmoid and tanh in the lanes of the dtype, for training: the gates of
 * recurrent layers, and tanh fused into layers.
 *
 * In float32 they err by less than 2 ULP (tests/test_accuracy.py; below -87 sigmoid stays
 * e^-87) where the ufuncs err by half an ULP, and are two to four times as fast as those:
 * a step of an LSTM asks for five of them per unit, and what it computes from them is
 * added to sums that err by more. In float64 they rest on vd_exp.
 *
 *     sigmoid(x) = 1 / (1 + e) for x >= 0, else e / (1 + e), e = exp(-|x|)
 *     tanh(x) = w / (w + 2), w = expm1(2|x|), with x's sign
 *     tanh'(x) = u (2 - u), u = 2 / (w + 2)
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
#define PA_GATE_WIDE 700.0

#else

/* For |t| <= 87; NaN gives q = NaN. */
PA_INLINE void pa_gate_exp(vr t, vr *s, vr *q)
{
    const vf magic = vf_set1(0x1.8p23f + 127);
    vf m = vf_fma(t, vf_set1(0x1.715476p+0f), magic);
    vf k = vf_sub(m, magic);
    *s = vf_power_of_two(m);
    const vf ln2_low = vf_set1(0x1.7f7d1cp-20f);
    vf head = vf_fnma(k, vf_set1(0x1.62e4p-1f), t); /* exact: 8 bits times 15 */
    vf r = vf_fnma(k, ln2_low, head);
    vf lost = vf_fnma(k, ln2_low, vf_sub(head, r)); /* in rounding r */
    vf z = vf_mul(r, r);
    vf even = vf_fma(vf_set1(0x1.6d723ep-10f), z, vf_set1(0x1.5554b0p-5f));
    vf odd = vf_fma(vf_set1(0x1.a032c2p-13f), z, vf_set1(0x1.11118ap-7f));
    even = vf_fma(even, z, vf_set1(0.5f));
    odd = vf_fma(odd, z, vf_set1(0x1.555554p-3f));
    *q = vf_add(vf_fma(z, vf_fma(odd, r, even), lost), r);
}
#define PA_GATE_WIDE 87.0f /* 1 / e^87 is still a normal number */

#endif

/* a / (d + lost), given 1 / d. */
PA_INLINE vr pa_gate_quotient(vr a, vr d, vr lost, vr inverse)
{
    vr y = vr_mul(a, inverse);
    return vr_fma(vr_fnma(y, lost, vr_fnma(y, d, a)), inverse, y);
}

PA_INLINE vr pa_gate_sigmoid(vr x)
{
    const vr one = vr_set1(1);
    vr s, q;
    pa_gate_exp(vr_max(vr_set1(-PA_GATE_WIDE), vr_neg(vr_abs(x))), &s, &q);
    vr e = vr_fma(s, q, s);
    vr top = vr_sel(vr_lt(x, vr_zero()), e, one);
    vr d = vr_add(one, e);
    return pa_gate_quotient(top, d, vr_sub(e, vr_sub(d, one)), vr_div(one, d));
}

/* y = tanh(x), and half = 1 / (w + 2), half of 1 - |y|. */
PA_INLINE vr pa_gate_tanh_half(vr x, vr *half)
{
    const vr two = vr_set1(2);
    vr s, q, t = vr_abs(vr_add(x, x));
    pa_gate_exp(vr_min(vr_set1(PA_GATE_WIDE), t), &s, &q);
    vr w = vr_fma(s, q, vr_sub(s, vr_set1(1)));
    vr d = vr_add(w, two); /* and what rounding it lost: */
    vr lost = vr_sub(vr_min(w, two), vr_sub(d, vr_max(w, two)));
    vr inverse = vr_div(vr_set1(1), d), y = pa_gate_quotient(w, d, lost, inverse);
    *half = vr_fnma(vr_mul(lost, inverse), inverse, inverse);
    return vr_sel(vr_lt(x, vr_zero()), vr_neg(y), y);
}

PA_INLINE vr pa_gate_tanh(vr x)
{
    vr half;
    return pa_gate_tanh_half(x, &half);
}

/* And its derivative, all digits of which are right in the tails too; in
 * float32 it counts as 0 beyond |x| = 43.5, where it is below 6.6e-38. */
PA_INLINE vr pa_gate_tanh_both(vr x, vr *slope)
{
    vr half, y = pa_gate_tanh_half(x, &half), u = vr_add(half, half);
    vrm tail = vr_gt(vr_abs(x), vr_set1(PA_GATE_WIDE / 2));
    *slope = vr_sel(tail, vr_zero(), vr_fnma(u, u, vr_add(u, u)));
    return y;
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
