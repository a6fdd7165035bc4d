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
#define PA_GATE_WIDE  43.5f /* exp(2 * 43.5) and its inverse are normal numbers */

/* Functions named _many work on n vectors side by side, step by step: alone, the chain of
 * some thirty dependent steps of one leaves most of the multiply-add units idle. */
enum { PA_GATE_MOST = 4 };

/* exp(2 a) = s + 2 s q with s = 2^k, a = k ln 2 / 2 + r, q = r + r^2 h(r); h was found by
 * weighted least squares at Chebyshev nodes, the weights adapted until the error was
 * level: 2^-31.9 of expm1(2 r). For |a| <= PA_GATE_WIDE; NaN gives q = NaN. */
PA_INLINE void pa_gate_exp_many(const int n, const vf *a, vf *s, vf *q)
{
    const vf magic = vf_set1(0x1.8p23f + 127);
    vf k[PA_GATE_MOST], r[PA_GATE_MOST], z[PA_GATE_MOST];
    vf even[PA_GATE_MOST], odd[PA_GATE_MOST];
    for (int j = 0; j < n; j++)
        s[j] = vf_fma(a[j], vf_set1(0x1.715476p+1f), magic);
    for (int j = 0; j < n; j++)
        k[j] = vf_sub(s[j], magic);
    for (int j = 0; j < n; j++)
        s[j] = vf_power_of_two(s[j]);
    for (int j = 0; j < n; j++) /* exact: 8 bits times 15 */
        q[j] = vf_fma(k[j], vf_set1(-0x1.62e4p-2f), a[j]);
    for (int j = 0; j < n; j++) /* r = q + k, of which q keeps what the sum loses */
        k[j] = vf_mul(k[j], vf_set1(-0x1.7f7d1cp-21f));
    for (int j = 0; j < n; j++)
        r[j] = vf_add(q[j], k[j]);
    for (int j = 0; j < n; j++)
        z[j] = vf_mul(r[j], r[j]);
    for (int j = 0; j < n; j++)
        even[j] = vf_fma(vf_set1(0x1.6d723ep-5f), z[j], vf_set1(0x1.5554b0p-2f));
    for (int j = 0; j < n; j++)
        odd[j] = vf_fma(vf_set1(0x1.a032c2p-7f), z[j], vf_set1(0x1.11118ap-3f));
    for (int j = 0; j < n; j++)
        even[j] = vf_fma(even[j], z[j], vf_set1(1));
    for (int j = 0; j < n; j++)
        odd[j] = vf_fma(odd[j], z[j], vf_set1(0x1.555554p-1f));
    for (int j = 0; j < n; j++)
        even[j] = vf_fma(odd[j], r[j], even[j]);
    for (int j = 0; j < n; j++)
        q[j] = vf_add(q[j], vf_fma(z[j], even[j], k[j]));
}

PA_INLINE vf pa_gate_sigmoid(vf x)
{
    const vf one = vf_set1(1);
    vf s, q;
    vf a = vf_max(vf_set1(-PA_GATE_WIDE), vf_mul(vf_set1(-0.5f), vf_abs(x)));
    pa_gate_exp_many(1, &a, &s, &q);
    vf e = vf_fma(vf_add(s, s), q, s), u = vf_div(one, vf_add(one, e));
    vf rest = vf_fnma(e, u, vf_sub(one, u)); /* u (1 + e) = 1 - rest */
    vf y = vf_sel(vf_lt(x, vf_zero()), vf_mul(e, u), u);
    return vf_fma(y, rest, y);
}

/* y = tanh(x): |y| = w u, w = expm1(2|x|) / 2, u = 1 / (1 + w). Divided is by 1 + w as
 * that is rounded, by which u misses a share of 1 - u - w u: t is y's part of it. Of its
 * differences the one taken first is exact in the tails, where derivatives are small. */
PA_INLINE void pa_gate_tanh_many(const int n, const vf *x, vf *y, vf *u, vf *t)
{
    const vf one = vf_set1(1);
    vf a[PA_GATE_MOST], s[PA_GATE_MOST], q[PA_GATE_MOST], w[PA_GATE_MOST];
    for (int j = 0; j < n; j++)
        a[j] = vf_min(vf_set1(PA_GATE_WIDE), vf_abs(x[j]));
    pa_gate_exp_many(n, a, s, q);
    for (int j = 0; j < n; j++)
        w[j] = vf_fma(s[j], q[j], vf_fma(s[j], vf_set1(0.5f), vf_set1(-0.5f)));
    for (int j = 0; j < n; j++)
        u[j] = vf_div(one, vf_add(one, w[j]));
    for (int j = 0; j < n; j++)
        y[j] = vf_mul(w[j], u[j]);
    for (int j = 0; j < n; j++)
        t[j] = vf_mul(y[j], vf_sub(vf_fnma(w[j], u[j], one), u[j]));
    for (int j = 0; j < n; j++)
        y[j] = vf_copysign(vf_fma(w[j], u[j], t[j]), x[j]);
}

PA_INLINE vf pa_gate_tanh(vf x)
{
    vf y, u, t;
    pa_gate_tanh_many(1, &x, &y, &u, &t);
    return y;
}

/* And its derivative u (2 - u), all digits of which are right in the tails too; it counts
 * as 0 beyond |x| = 43.5, where it is below 6.6e-38. */
PA_INLINE void pa_gate_tanh_both_many(const int n, const vf *x, vf *y, vf *slope)
{
    vf u[PA_GATE_MOST], t[PA_GATE_MOST];
    pa_gate_tanh_many(n, x, y, u, t);
    for (int j = 0; j < n; j++) {
        vfm tail = vf_gt(vf_abs(x[j]), vf_set1(PA_GATE_WIDE));
        vf twice = vf_add(u[j], u[j]);
        vf dy = vf_fma(twice, t[j], vf_fnma(u[j], u[j], twice));
        slope[j] = vf_sel(tail, vf_zero(), dy);
    }
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
