/* simd.h - one small vector vocabulary for every ISA. Intrinsics live in this folder
 * only.
 *
 * Families, each with its lane count and its mask type:
 *   vr  VR_N reals (the variant's dtype), mask vrm   - gemm, reductions, optimizers
 *   vd  VD_N doubles, mask vdm                       - element-wise functions
 *   vi  the int64 view of a vd: VD_N lanes           - exponents and bit tricks
 *   vf  VF_N floats, mask vfm                        - what vr is where real is float
 *
 * For T in vr, vd, vf:
 *   T_load(p) T_store(p, a)         any alignment
 *   T_load_n(p, n) T_store_n(p, a, n)  the first n lanes, 0 <= n <= T_N; memory beyond
 *                                   is never touched, and the other lanes load as 0
 *   T_set1(s) T_zero() T_add T_sub T_mul T_div T_sqrt T_abs T_neg
 *   T_fma(a, b, c) = a b + c, T_fnma(a, b, c) = c - a b. One rounding where PA_SIMD_FMA
 *                                   is 1; else a product and a sum, each rounded. Code
 *                                   whose correctness needs one rounding must ask.
 *   T_min(a, b) = a < b ? a : b, T_max(a, b) = a > b ? a : b: b where one is NaN
 *   T_lt T_le T_gt T_ge T_eq T_ne   give a mask, false (T_ne true) for NaN. These, T_min
 *                                   and T_max may raise `invalid` for NaN
 *   T_sel(m, a, b)                  m ? a : b, lane by lane
 *   T_sum(a)                        upper half onto lower half until one lane is left
 * For M in vrm, vdm, vfm: M_and M_or M_not, M_any(m) (bool), M_bits(m) (lane i at bit i).
 *
 * Only for vd: vd_load_real, vd_store_real, vd_load_real_n, vd_store_real_n convert
 * between VD_N reals in memory and doubles, rounding once; vd_copysign(a, s); vd_bits,
 * vi_double; and vi_set1 vi_add vi_sub vi_and vi_or vi_xor vi_andnot(a, b) = ~a & b,
 * vi_shl(a, n), vi_shr(a, n) (logical, constant n), vi_testz(a, b): mask of the lanes
 * where a & b is 0, for b below 2^32.
 *
 * Only for vf: vf_power_of_two(m) = 2^k for m = 1.5 2^23 + 127 + k, -126 <= k <= 127.
 *
 * For two vd at once, in no promised order of lanes: vw_low(a, b) and vw_high(a, b) are
 * their low and high 32-bit halves; vw_in(w, n, low, count) is the mask of the lanes
 * where low <= (w << n) < low + count, modulo 2^32; vwm_or, vwm_any.
 *
 * Adding an ISA: one header like avx2.h, and its line below. */
#ifndef PA_SIMD_H
#define PA_SIMD_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/prefetch.h"
#include "op.h"

#ifndef PA_INLINE
#if defined(_MSC_VER)
#define PA_INLINE static __forceinline
#elif defined(__GNUC__)
#define PA_INLINE static inline __attribute__((always_inline))
#else
#define PA_INLINE static inline
#endif
#endif

#if defined(PA_SIMD_BASE)
#if defined(__x86_64__) || defined(_M_X64)
#include "simd/sse2.h"
#else
#include "simd/scalar.h"
#endif
#elif defined(__AVX512F__) && defined(__AVX512DQ__)
#include "simd/avx512.h"
#elif defined(__AVX2__)
#include "simd/avx2.h"
#elif defined(__ARM_NEON) || defined(_M_ARM64)
#include "simd/neon.h"
#else
#include "simd/scalar.h"
#endif

/* vr is vd or vf under another name. */
#ifdef PA_REAL_IS_DOUBLE
#define VR_N         VD_N
#define PA_VR_(name) vd##name
#else
#define VR_N         VF_N
#define PA_VR_(name) vf##name
#endif
typedef PA_VR_() vr;
typedef PA_VR_(m) vrm;
#define vr_load    PA_VR_(_load)
#define vr_store   PA_VR_(_store)
#define vr_load_n  PA_VR_(_load_n)
#define vr_store_n PA_VR_(_store_n)
#define vr_set1    PA_VR_(_set1)
#define vr_zero    PA_VR_(_zero)
#define vr_add     PA_VR_(_add)
#define vr_sub     PA_VR_(_sub)
#define vr_mul     PA_VR_(_mul)
#define vr_div     PA_VR_(_div)
#define vr_fma     PA_VR_(_fma)
#define vr_fnma    PA_VR_(_fnma)
#define vr_min     PA_VR_(_min)
#define vr_max     PA_VR_(_max)
#define vr_sqrt    PA_VR_(_sqrt)
#define vr_abs     PA_VR_(_abs)
#define vr_neg     PA_VR_(_neg)
#define vr_lt      PA_VR_(_lt)
#define vr_le      PA_VR_(_le)
#define vr_gt      PA_VR_(_gt)
#define vr_ge      PA_VR_(_ge)
#define vr_eq      PA_VR_(_eq)
#define vr_ne      PA_VR_(_ne)
#define vr_sel     PA_VR_(_sel)
#define vr_sum     PA_VR_(_sum)
#define vrm_and    PA_VR_(m_and)
#define vrm_or     PA_VR_(m_or)
#define vrm_not    PA_VR_(m_not)
#define vrm_any    PA_VR_(m_any)
#define vrm_bits   PA_VR_(m_bits)

/* ---- double lanes for reals in memory ---------------------------------------------- */

PA_INLINE vd vd_load_real(const real *p)
{
#ifdef PA_REAL_IS_DOUBLE
    return vd_load(p);
#else
    return vd_load_f32(p);
#endif
}

PA_INLINE void vd_store_real(real *p, vd a)
{
#ifdef PA_REAL_IS_DOUBLE
    vd_store(p, a);
#else
    vd_store_f32(p, a);
#endif
}

PA_INLINE vd vd_load_real_n(const real *p, int n)
{
#ifdef PA_REAL_IS_DOUBLE
    return vd_load_n(p, n);
#else
    float t[VD_N] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return vd_load_f32(t);
#endif
}

PA_INLINE void vd_store_real_n(real *p, vd a, int n)
{
#ifdef PA_REAL_IS_DOUBLE
    vd_store_n(p, a, n);
#else
    float t[VD_N];
    vd_store_f32(t, a);
    memcpy(p, t, (size_t)n * sizeof *t);
#endif
}

PA_INLINE vd vd_copysign(vd a, vd s)
{
    const vi sign = vi_set1(INT64_MIN);
    return vi_double(vi_or(vi_andnot(sign, vd_bits(a)), vi_and(sign, vd_bits(s))));
}

#endif
