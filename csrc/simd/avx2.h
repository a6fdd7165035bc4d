/* avx2.h - the vocabulary of simd.h over AVX2 and FMA; true fused multiply-add. */
#ifndef PA_SIMD_AVX2_H
#define PA_SIMD_AVX2_H

#include <immintrin.h>

#define PA_SIMD_FMA 1
enum { VF_N = 8, VD_N = 4 };
typedef __m256 vf;
typedef __m256 vfm;
typedef __m256d vd;
typedef __m256d vdm;
typedef __m256i vi;
typedef __m256i vw;
typedef __m256i vwm;

/* clang-format off */
PA_INLINE __m256i pa_lanes8_(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
PA_INLINE __m256i pa_lanes4_(int n) { return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)); }

PA_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
PA_INLINE void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
PA_INLINE vf vf_load_n(const float *p, int n) { return _mm256_maskload_ps(p, pa_lanes8_(n)); }
PA_INLINE void vf_store_n(float *p, vf a, int n) { _mm256_maskstore_ps(p, pa_lanes8_(n), a); }
PA_INLINE vf vf_set1(float s) { return _mm256_set1_ps(s); }
PA_INLINE vf vf_zero(void) { return _mm256_setzero_ps(); }
PA_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
PA_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
PA_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
PA_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
PA_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
PA_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
PA_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
PA_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
PA_INLINE vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
PA_INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
PA_INLINE vf vf_neg(vf a) { return _mm256_xor_ps(_mm256_set1_ps(-0.0f), a); }
PA_INLINE vf vf_copysign(vf a, vf s) { return _mm256_or_ps(vf_abs(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), s)); }
PA_INLINE vf vf_power_of_two(vf m) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(m), 23)); }
PA_INLINE vfm vf_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
PA_INLINE vfm vf_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
PA_INLINE vfm vf_gt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
PA_INLINE vfm vf_ge(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
PA_INLINE vfm vf_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
PA_INLINE vfm vf_ne(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
PA_INLINE vf vf_sel(vfm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
PA_INLINE vfm vfm_and(vfm a, vfm b) { return _mm256_and_ps(a, b); }
PA_INLINE vfm vfm_or(vfm a, vfm b) { return _mm256_or_ps(a, b); }
PA_INLINE vfm vfm_not(vfm a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
PA_INLINE bool vfm_any(vfm m) { return _mm256_movemask_ps(m) != 0; }
PA_INLINE unsigned vfm_bits(vfm m) { return (unsigned)_mm256_movemask_ps(m); }
PA_INLINE float vf_sum(vf a)
{
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}

PA_INLINE vd vd_load(const double *p) { return _mm256_loadu_pd(p); }
PA_INLINE void vd_store(double *p, vd a) { _mm256_storeu_pd(p, a); }
PA_INLINE vd vd_load_n(const double *p, int n) { return _mm256_maskload_pd(p, pa_lanes4_(n)); }
PA_INLINE void vd_store_n(double *p, vd a, int n) { _mm256_maskstore_pd(p, pa_lanes4_(n), a); }
PA_INLINE vd vd_load_f32(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
PA_INLINE void vd_store_f32(float *p, vd a) { _mm_storeu_ps(p, _mm256_cvtpd_ps(a)); }
PA_INLINE vd vd_set1(double s) { return _mm256_set1_pd(s); }
PA_INLINE vd vd_zero(void) { return _mm256_setzero_pd(); }
PA_INLINE vd vd_add(vd a, vd b) { return _mm256_add_pd(a, b); }
PA_INLINE vd vd_sub(vd a, vd b) { return _mm256_sub_pd(a, b); }
PA_INLINE vd vd_mul(vd a, vd b) { return _mm256_mul_pd(a, b); }
PA_INLINE vd vd_div(vd a, vd b) { return _mm256_div_pd(a, b); }
PA_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm256_fmadd_pd(a, b, c); }
PA_INLINE vd vd_fnma(vd a, vd b, vd c) { return _mm256_fnmadd_pd(a, b, c); }
PA_INLINE vd vd_min(vd a, vd b) { return _mm256_min_pd(a, b); }
PA_INLINE vd vd_max(vd a, vd b) { return _mm256_max_pd(a, b); }
PA_INLINE vd vd_sqrt(vd a) { return _mm256_sqrt_pd(a); }
PA_INLINE vd vd_abs(vd a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
PA_INLINE vd vd_neg(vd a) { return _mm256_xor_pd(_mm256_set1_pd(-0.0), a); }
PA_INLINE vdm vd_lt(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
PA_INLINE vdm vd_le(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
PA_INLINE vdm vd_gt(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
PA_INLINE vdm vd_ge(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_GE_OQ); }
PA_INLINE vdm vd_eq(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
PA_INLINE vdm vd_ne(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_NEQ_UQ); }
PA_INLINE vd vd_sel(vdm m, vd a, vd b) { return _mm256_blendv_pd(b, a, m); }
PA_INLINE vdm vdm_and(vdm a, vdm b) { return _mm256_and_pd(a, b); }
PA_INLINE vdm vdm_or(vdm a, vdm b) { return _mm256_or_pd(a, b); }
PA_INLINE vdm vdm_not(vdm a) { return _mm256_xor_pd(a, _mm256_castsi256_pd(_mm256_set1_epi32(-1))); }
PA_INLINE bool vdm_any(vdm m) { return _mm256_movemask_pd(m) != 0; }
PA_INLINE unsigned vdm_bits(vdm m) { return (unsigned)_mm256_movemask_pd(m); }
PA_INLINE double vd_sum(vd a)
{
    __m128d c = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

PA_INLINE vi vd_bits(vd a) { return _mm256_castpd_si256(a); }
PA_INLINE vd vi_double(vi a) { return _mm256_castsi256_pd(a); }
PA_INLINE vi vi_set1(int64_t s) { return _mm256_set1_epi64x(s); }
PA_INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi64(a, b); }
PA_INLINE vi vi_sub(vi a, vi b) { return _mm256_sub_epi64(a, b); }
PA_INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
PA_INLINE vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
PA_INLINE vi vi_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
PA_INLINE vi vi_andnot(vi a, vi b) { return _mm256_andnot_si256(a, b); }
PA_INLINE vi vi_shl(vi a, int n) { return _mm256_slli_epi64(a, n); }
PA_INLINE vi vi_shr(vi a, int n) { return _mm256_srli_epi64(a, n); }
PA_INLINE vdm vi_testz(vi a, vi b) { return _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(a, b), _mm256_setzero_si256())); }

PA_INLINE vw vw_low(vd a, vd b) { return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castpd_ps(a), _mm256_castpd_ps(b), 0x88)); }
PA_INLINE vw vw_high(vd a, vd b) { return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castpd_ps(a), _mm256_castpd_ps(b), 0xdd)); }
PA_INLINE vwm vw_in(vw a, int n, uint32_t low, uint32_t count)
{
    /* unsigned order is signed order with the sign bit flipped */
    a = _mm256_sub_epi32(_mm256_slli_epi32(a, n), _mm256_set1_epi32((int)(low ^ 0x80000000u)));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count ^ 0x80000000u)), a);
}
PA_INLINE vwm vwm_or(vwm a, vwm b) { return _mm256_or_si256(a, b); }
PA_INLINE bool vwm_any(vwm m) { return _mm256_movemask_epi8(m) != 0; }
/* clang-format on */

#endif
