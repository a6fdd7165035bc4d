/* avx512.h - the vocabulary of simd.h over AVX-512 F, DQ, BW, VL; true fused
 * multiply-add. */
#ifndef PA_SIMD_AVX512_H
#define PA_SIMD_AVX512_H

#include <immintrin.h>

#define PA_SIMD_FMA 1
enum { VF_N = 16, VD_N = 8 };
typedef __m512 vf;
typedef __mmask16 vfm;
typedef __m512d vd;
typedef __mmask8 vdm;
typedef __m512i vi;
typedef __m512i vw;
typedef __mmask16 vwm;

/* clang-format off */
PA_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
PA_INLINE void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
PA_INLINE vf vf_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p); }
PA_INLINE void vf_store_n(float *p, vf a, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), a); }
PA_INLINE vf vf_set1(float s) { return _mm512_set1_ps(s); }
PA_INLINE vf vf_zero(void) { return _mm512_setzero_ps(); }
PA_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
PA_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
PA_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
PA_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
PA_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
PA_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
PA_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
PA_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
PA_INLINE vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
PA_INLINE vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
PA_INLINE vf vf_neg(vf a) { return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a); }
PA_INLINE vf vf_copysign(vf a, vf s) { return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(_mm512_set1_ps(-0.0f)), _mm512_castps_si512(s), _mm512_castps_si512(a), 0xca)); }
PA_INLINE vf vf_power_of_two(vf m) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(m), 23)); }
PA_INLINE vfm vf_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
PA_INLINE vfm vf_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
PA_INLINE vfm vf_gt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
PA_INLINE vfm vf_ge(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
PA_INLINE vfm vf_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
PA_INLINE vfm vf_ne(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
PA_INLINE vf vf_sel(vfm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
PA_INLINE vfm vfm_and(vfm a, vfm b) { return (vfm)(a & b); }
PA_INLINE vfm vfm_or(vfm a, vfm b) { return (vfm)(a | b); }
PA_INLINE vfm vfm_not(vfm a) { return (vfm)~a; }
PA_INLINE bool vfm_any(vfm m) { return m != 0; }
PA_INLINE unsigned vfm_bits(vfm m) { return m; }
PA_INLINE float vf_sum(vf a)
{
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}

PA_INLINE vd vd_load(const double *p) { return _mm512_loadu_pd(p); }
PA_INLINE void vd_store(double *p, vd a) { _mm512_storeu_pd(p, a); }
PA_INLINE vd vd_load_n(const double *p, int n) { return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1u), p); }
PA_INLINE void vd_store_n(double *p, vd a, int n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1u), a); }
PA_INLINE vd vd_load_f32(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
PA_INLINE void vd_store_f32(float *p, vd a) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(a)); }
PA_INLINE vd vd_set1(double s) { return _mm512_set1_pd(s); }
PA_INLINE vd vd_zero(void) { return _mm512_setzero_pd(); }
PA_INLINE vd vd_add(vd a, vd b) { return _mm512_add_pd(a, b); }
PA_INLINE vd vd_sub(vd a, vd b) { return _mm512_sub_pd(a, b); }
PA_INLINE vd vd_mul(vd a, vd b) { return _mm512_mul_pd(a, b); }
PA_INLINE vd vd_div(vd a, vd b) { return _mm512_div_pd(a, b); }
PA_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
PA_INLINE vd vd_fnma(vd a, vd b, vd c) { return _mm512_fnmadd_pd(a, b, c); }
PA_INLINE vd vd_min(vd a, vd b) { return _mm512_min_pd(a, b); }
PA_INLINE vd vd_max(vd a, vd b) { return _mm512_max_pd(a, b); }
PA_INLINE vd vd_sqrt(vd a) { return _mm512_sqrt_pd(a); }
PA_INLINE vd vd_abs(vd a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
PA_INLINE vd vd_neg(vd a) { return _mm512_xor_pd(_mm512_set1_pd(-0.0), a); }
PA_INLINE vdm vd_lt(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
PA_INLINE vdm vd_le(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
PA_INLINE vdm vd_gt(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
PA_INLINE vdm vd_ge(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ); }
PA_INLINE vdm vd_eq(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
PA_INLINE vdm vd_ne(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ); }
PA_INLINE vd vd_sel(vdm m, vd a, vd b) { return _mm512_mask_blend_pd(m, b, a); }
PA_INLINE vdm vdm_and(vdm a, vdm b) { return (vdm)(a & b); }
PA_INLINE vdm vdm_or(vdm a, vdm b) { return (vdm)(a | b); }
PA_INLINE vdm vdm_not(vdm a) { return (vdm)~a; }
PA_INLINE bool vdm_any(vdm m) { return m != 0; }
PA_INLINE unsigned vdm_bits(vdm m) { return m; }
PA_INLINE double vd_sum(vd a)
{
    __m256d b = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
    return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

PA_INLINE vi vd_bits(vd a) { return _mm512_castpd_si512(a); }
PA_INLINE vd vi_double(vi a) { return _mm512_castsi512_pd(a); }
PA_INLINE vi vi_set1(int64_t s) { return _mm512_set1_epi64(s); }
PA_INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi64(a, b); }
PA_INLINE vi vi_sub(vi a, vi b) { return _mm512_sub_epi64(a, b); }
PA_INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
PA_INLINE vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
PA_INLINE vi vi_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
PA_INLINE vi vi_andnot(vi a, vi b) { return _mm512_andnot_si512(a, b); }
PA_INLINE vi vi_shl(vi a, int n) { return _mm512_slli_epi64(a, (unsigned)n); }
PA_INLINE vi vi_shr(vi a, int n) { return _mm512_srli_epi64(a, (unsigned)n); }
PA_INLINE vdm vi_testz(vi a, vi b) { return _mm512_testn_epi64_mask(a, b); }

/* What other ISAs lack: a table of 16, read lane by lane at an index's low four bits. */
#define PA_SIMD_LOOKUP16 1
PA_INLINE vi vi_lookup16(const int64_t *table, vi index) { return _mm512_permutex2var_epi64(_mm512_loadu_si512(table), index, _mm512_loadu_si512(table + 8)); }

PA_INLINE vw vw_low(vd a, vd b) { return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castpd_ps(a), _mm512_castpd_ps(b), 0x88)); }
PA_INLINE vw vw_high(vd a, vd b) { return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castpd_ps(a), _mm512_castpd_ps(b), 0xdd)); }
PA_INLINE vwm vw_in(vw a, int n, uint32_t low, uint32_t count)
{
    a = _mm512_sub_epi32(_mm512_slli_epi32(a, (unsigned)n), _mm512_set1_epi32((int)low));
    return _mm512_cmplt_epu32_mask(a, _mm512_set1_epi32((int)count));
}
PA_INLINE vwm vwm_or(vwm a, vwm b) { return (vwm)(a | b); }
PA_INLINE bool vwm_any(vwm m) { return m != 0; }
/* clang-format on */

#endif
