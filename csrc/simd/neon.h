/* neon.h - the vocabulary of simd.h over AArch64 Advanced SIMD; true fused multiply-add.
 */
#ifndef PA_SIMD_NEON_H
#define PA_SIMD_NEON_H

#include <arm_neon.h>

#define PA_SIMD_FMA 1
enum { VF_N = 4, VD_N = 2 };
typedef float32x4_t vf;
typedef uint32x4_t vfm;
typedef float64x2_t vd;
typedef uint64x2_t vdm;
typedef int64x2_t vi;
typedef uint32x4_t vw;
typedef uint32x4_t vwm;

/* clang-format off */
PA_INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
PA_INLINE void vf_store(float *p, vf a) { vst1q_f32(p, a); }
PA_INLINE vf vf_load_n(const float *p, int n)
{
    float t[4] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return vld1q_f32(t);
}
PA_INLINE void vf_store_n(float *p, vf a, int n)
{
    float t[4];
    vst1q_f32(t, a);
    memcpy(p, t, (size_t)n * sizeof *t);
}
PA_INLINE vf vf_set1(float s) { return vdupq_n_f32(s); }
PA_INLINE vf vf_zero(void) { return vdupq_n_f32(0); }
PA_INLINE vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
PA_INLINE vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
PA_INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
PA_INLINE vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
PA_INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
PA_INLINE vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
PA_INLINE vf vf_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
PA_INLINE vf vf_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
PA_INLINE vf vf_sqrt(vf a) { return vsqrtq_f32(a); }
PA_INLINE vf vf_abs(vf a) { return vabsq_f32(a); }
PA_INLINE vf vf_neg(vf a) { return vnegq_f32(a); }
PA_INLINE vf vf_copysign(vf a, vf s) { return vbslq_f32(vdupq_n_u32(0x80000000u), s, a); }
PA_INLINE vf vf_power_of_two(vf m) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(m), 23)); }
PA_INLINE vfm vf_lt(vf a, vf b) { return vcltq_f32(a, b); }
PA_INLINE vfm vf_le(vf a, vf b) { return vcleq_f32(a, b); }
PA_INLINE vfm vf_gt(vf a, vf b) { return vcgtq_f32(a, b); }
PA_INLINE vfm vf_ge(vf a, vf b) { return vcgeq_f32(a, b); }
PA_INLINE vfm vf_eq(vf a, vf b) { return vceqq_f32(a, b); }
PA_INLINE vfm vfm_not(vfm a) { return vmvnq_u32(a); }
PA_INLINE vfm vf_ne(vf a, vf b) { return vfm_not(vceqq_f32(a, b)); }
PA_INLINE vf vf_sel(vfm m, vf a, vf b) { return vbslq_f32(m, a, b); }
PA_INLINE vfm vfm_and(vfm a, vfm b) { return vandq_u32(a, b); }
PA_INLINE vfm vfm_or(vfm a, vfm b) { return vorrq_u32(a, b); }
PA_INLINE bool vfm_any(vfm m) { return vmaxvq_u32(m) != 0; }
PA_INLINE unsigned vfm_bits(vfm m)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(bit)));
}
PA_INLINE float vf_sum(vf a)
{
    float32x2_t h = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}

PA_INLINE vd vd_load(const double *p) { return vld1q_f64(p); }
PA_INLINE void vd_store(double *p, vd a) { vst1q_f64(p, a); }
PA_INLINE vd vd_load_n(const double *p, int n)
{
    double t[2] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return vld1q_f64(t);
}
PA_INLINE void vd_store_n(double *p, vd a, int n)
{
    double t[2];
    vst1q_f64(t, a);
    memcpy(p, t, (size_t)n * sizeof *t);
}
PA_INLINE vd vd_load_f32(const float *p) { return vcvt_f64_f32(vld1_f32(p)); }
PA_INLINE void vd_store_f32(float *p, vd a) { vst1_f32(p, vcvt_f32_f64(a)); }
PA_INLINE vd vd_set1(double s) { return vdupq_n_f64(s); }
PA_INLINE vd vd_zero(void) { return vdupq_n_f64(0); }
PA_INLINE vd vd_add(vd a, vd b) { return vaddq_f64(a, b); }
PA_INLINE vd vd_sub(vd a, vd b) { return vsubq_f64(a, b); }
PA_INLINE vd vd_mul(vd a, vd b) { return vmulq_f64(a, b); }
PA_INLINE vd vd_div(vd a, vd b) { return vdivq_f64(a, b); }
PA_INLINE vd vd_fma(vd a, vd b, vd c) { return vfmaq_f64(c, a, b); }
PA_INLINE vd vd_fnma(vd a, vd b, vd c) { return vfmsq_f64(c, a, b); }
PA_INLINE vd vd_min(vd a, vd b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
PA_INLINE vd vd_max(vd a, vd b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
PA_INLINE vd vd_sqrt(vd a) { return vsqrtq_f64(a); }
PA_INLINE vd vd_abs(vd a) { return vabsq_f64(a); }
PA_INLINE vd vd_neg(vd a) { return vnegq_f64(a); }
PA_INLINE vdm vd_lt(vd a, vd b) { return vcltq_f64(a, b); }
PA_INLINE vdm vd_le(vd a, vd b) { return vcleq_f64(a, b); }
PA_INLINE vdm vd_gt(vd a, vd b) { return vcgtq_f64(a, b); }
PA_INLINE vdm vd_ge(vd a, vd b) { return vcgeq_f64(a, b); }
PA_INLINE vdm vd_eq(vd a, vd b) { return vceqq_f64(a, b); }
PA_INLINE vdm vdm_not(vdm a) { return vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(a))); }
PA_INLINE vdm vd_ne(vd a, vd b) { return vdm_not(vceqq_f64(a, b)); }
PA_INLINE vd vd_sel(vdm m, vd a, vd b) { return vbslq_f64(m, a, b); }
PA_INLINE vdm vdm_and(vdm a, vdm b) { return vandq_u64(a, b); }
PA_INLINE vdm vdm_or(vdm a, vdm b) { return vorrq_u64(a, b); }
PA_INLINE bool vdm_any(vdm m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }
PA_INLINE unsigned vdm_bits(vdm m) { return (unsigned)(vgetq_lane_u64(m, 0) & 1) | (unsigned)(vgetq_lane_u64(m, 1) & 2); }
PA_INLINE double vd_sum(vd a) { return vgetq_lane_f64(a, 0) + vgetq_lane_f64(a, 1); }

PA_INLINE vi vd_bits(vd a) { return vreinterpretq_s64_f64(a); }
PA_INLINE vd vi_double(vi a) { return vreinterpretq_f64_s64(a); }
PA_INLINE vi vi_set1(int64_t s) { return vdupq_n_s64(s); }
PA_INLINE vi vi_add(vi a, vi b) { return vaddq_s64(a, b); }
PA_INLINE vi vi_sub(vi a, vi b) { return vsubq_s64(a, b); }
PA_INLINE vi vi_and(vi a, vi b) { return vandq_s64(a, b); }
PA_INLINE vi vi_or(vi a, vi b) { return vorrq_s64(a, b); }
PA_INLINE vi vi_xor(vi a, vi b) { return veorq_s64(a, b); }
PA_INLINE vi vi_andnot(vi a, vi b) { return vbicq_s64(b, a); }
PA_INLINE vi vi_shl(vi a, int n) { return vshlq_s64(a, vdupq_n_s64(n)); }
PA_INLINE vi vi_shr(vi a, int n) { return vreinterpretq_s64_u64(vshlq_u64(vreinterpretq_u64_s64(a), vdupq_n_s64(-n))); }
PA_INLINE vdm vi_testz(vi a, vi b) { return vceqzq_s64(vandq_s64(a, b)); }

PA_INLINE vw vw_low(vd a, vd b) { return vuzp1q_u32(vreinterpretq_u32_f64(a), vreinterpretq_u32_f64(b)); }
PA_INLINE vw vw_high(vd a, vd b) { return vuzp2q_u32(vreinterpretq_u32_f64(a), vreinterpretq_u32_f64(b)); }
PA_INLINE vwm vw_in(vw a, int n, uint32_t low, uint32_t count)
{
    a = vsubq_u32(vshlq_u32(a, vdupq_n_s32(n)), vdupq_n_u32(low));
    return vcltq_u32(a, vdupq_n_u32(count));
}
PA_INLINE vwm vwm_or(vwm a, vwm b) { return vorrq_u32(a, b); }
PA_INLINE bool vwm_any(vwm m) { return vmaxvq_u32(m) != 0; }
/* clang-format on */

#endif
