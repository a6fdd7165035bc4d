/* gate.h - sigmoid and tanh in the lanes of the dtype, for training: the gates of
 * recurrent layers, and tanh fused into layers.
 *
 * In float32 they err by less than 2 ULP (tests/test_accuracy.py; below -87 sigmoid stays
 * e^-87) where the ufuncs err by half an ULP, and are two to four times as fast as those:
 * a step of an LSTM asks for five of them per unit, and what it computes from them is
 * added to sums that err by more. Their corrections need one rounding for a product and a
 * sum; without that, and in float64, they rest on vd_exp.
 *
 *     sigmoid(x) = 1 / (1 + e) for x >= 0, else e / (1 + e), e = exp(-|x|)
 *     tanh(x) = w / (w + 2), w = expm1(2|x|), with x's sign
 *     tanh'(x) = u (2 - u), u = 2 / (w + 2)
 */
#ifndef PA_SIMD_GATE_H
#define PA_SIMD_GATE_H

#include "simd/math.h"

#if defined(PA_REAL_IS_DOUBLE) || !PA_SIMD_FMA

PA_INLINE vd pa_gate_sigmoid_vd(vd x)
{
    const vd one = vd_set1(1);
    vd e = vd_exp(vd_max(vd_set1(-700), vd_neg(vd_abs(x))));
    return vd_div(vd_sel(vd_lt(x, vd_zero()), e, one), vd_add(one, e));
}

PA_INLINE vd pa_gate_tanh_vd(vd x)
{
    vd w = vd_expm1(vd_min(vd_set1(44), vd_abs(vd_add(x, x))));
    vd y = vd_div(w, vd_add(w, vd_set1(2)));
    return vd_sel(vd_lt(x, vd_zero()), vd_neg(y), y);
}

/* f over vr, by way of memory: the lanes may be narrower. */
PA_INLINE vr pa_gate_by_vd(vd (*f)(vd), vr x)
{
    real t[VR_N];
    vr_store(t, x);
    for (int i = 0; i < VR_N; i += VD_N)
        vd_store_real(t + i, f(vd_load_real(t + i)));
    return vr_load(t);
}

PA_INLINE vr pa_gate_sigmoid(vr x)
{
    return pa_gate_by_vd(pa_gate_sigmoid_vd, x);
}

PA_INLINE vr pa_gate_tanh(vr x)
{
    return pa_gate_by_vd(pa_gate_tanh_vd, x);
}

#else

#define PA_GATE_QUICK 1
#define PA_GATE_WIDE  87.0f /* 1 / e^87 is still a normal number */

/* exp(t) = s + s q with s = 2^k, t = k ln 2 + r, q = r + r^2 h(r); h was found by
 * weighted least squares at Chebyshev nodes, the weights adapted until the error was
 * level: 2^-31.9 of expm1(r). For |t| <= 87; NaN gives q = NaN. */
PA_INLINE void pa_gate_exp(vf t, vf *s, vf *q)
{
    const vf magic = vf_set1(0x1.8p23f + 127), ln2_low = vf_set1(0x1.7f7d1cp-20f);
    vf m = vf_fma(t, vf_set1(0x1.715476p+0f), magic);
    vf k = vf_sub(m, magic);
    *s = vf_power_of_two(m);
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

/* a / (d + lost), given 1 / d. */
PA_INLINE vf pa_gate_quotient(vf a, vf d, vf lost, vf inverse)
{
    vf y = vf_mul(a, inverse);
    return vf_fma(vf_fnma(y, lost, vf_fnma(y, d, a)), inverse, y);
}

PA_INLINE vf pa_gate_sigmoid(vf x)
{
    const vf one = vf_set1(1);
    vf s, q;
    pa_gate_exp(vf_max(vf_set1(-PA_GATE_WIDE), vf_neg(vf_abs(x))), &s, &q);
    vf e = vf_fma(s, q, s), d = vf_add(one, e);
    vf top = vf_sel(vf_lt(x, vf_zero()), e, one);
    return pa_gate_quotient(top, d, vf_sub(e, vf_sub(d, one)), vf_div(one, d));
}

/* y = tanh(x), and half = 1 / (w + 2), half of 1 - |y|. */
PA_INLINE vf pa_gate_tanh_half(vf x, vf *half)
{
    const vf two = vf_set1(2);
    vf s, q, t = vf_abs(vf_add(x, x));
    pa_gate_exp(vf_min(vf_set1(PA_GATE_WIDE), t), &s, &q);
    vf w = vf_fma(s, q, vf_sub(s, vf_set1(1)));
    vf d = vf_add(w, two); /* and what rounding it lost: */
    vf lost = vf_sub(vf_min(w, two), vf_sub(d, vf_max(w, two)));
    vf inverse = vf_div(vf_set1(1), d), y = pa_gate_quotient(w, d, lost, inverse);
    *half = vf_fnma(vf_mul(lost, inverse), inverse, inverse);
    return vf_sel(vf_lt(x, vf_zero()), vf_neg(y), y);
}

PA_INLINE vf pa_gate_tanh(vf x)
{
    vf half;
    return pa_gate_tanh_half(x, &half);
}

/* And its derivative, all digits of which are right in the tails too; it counts as 0
 * beyond |x| = 43.5, where it is below 6.6e-38. */
PA_INLINE vf pa_gate_tanh_both(vf x, vf *slope)
{
    vf half, y = pa_gate_tanh_half(x, &half), u = vf_add(half, half);
    vfm tail = vf_gt(vf_abs(x), vf_set1(PA_GATE_WIDE / 2));
    *slope = vf_sel(tail, vf_zero(), vf_fnma(u, u, vf_add(u, u)));
    return y;
}

#endif

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
