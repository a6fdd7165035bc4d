/* sse2.h - the vocabulary of simd.h over SSE2, which every x86-64 has; no fused
 * multiply-add: vf_fma and vd_fma round twice. */
#ifndef PA_SIMD_SSE2_H
#define PA_SIMD_SSE2_H

#include <emmintrin.h>

#define PA_SIMD_FMA 0
enum { VF_N = 4, VD_N = 2 };
typedef __m128 vf;
typedef __m128 vfm;
typedef __m128d vd;
typedef __m128d vdm;
typedef __m128i vi;
typedef __m128i vw;
typedef __m128i vwm;

/* clang-format off */
PA_INLINE vf vf_load(const float *p) { return _mm_loadu_ps(p); }
PA_INLINE void vf_store(float *p, vf a) { _mm_storeu_ps(p, a); }
PA_INLINE vf vf_load_n(const float *p, int n)
{
    if (n >= 4)
        return _mm_loadu_ps(p);
    __m128 low = n >= 2 ? _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)p)) : _mm_setzero_ps();
    __m128 last = n & 1 ? _mm_load_ss(p + (n & 2)) : _mm_setzero_ps();
    return n & 2 ? _mm_movelh_ps(low, last) : last;
}
PA_INLINE void vf_store_n(float *p, vf a, int n)
{
    if (n >= 4) {
        _mm_storeu_ps(p, a);
        return;
    }
    if (n & 2) {
        _mm_storel_epi64((__m128i *)(void *)p, _mm_castps_si128(a));
        a = _mm_movehl_ps(a, a);
    }
    if (n & 1)
        _mm_store_ss(p + (n & 2), a);
}
PA_INLINE vf vf_set1(float s) { return _mm_set1_ps(s); }
PA_INLINE vf vf_zero(void) { return _mm_setzero_ps(); }
PA_INLINE vf vf_add(vf a, vf b) { return _mm_add_ps(a, b); }
PA_INLINE vf vf_sub(vf a, vf b) { return _mm_sub_ps(a, b); }
PA_INLINE vf vf_mul(vf a, vf b) { return _mm_mul_ps(a, b); }
PA_INLINE vf vf_div(vf a, vf b) { return _mm_div_ps(a, b); }
PA_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
PA_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm_sub_ps(c, _mm_mul_ps(a, b)); }
PA_INLINE vf vf_min(vf a, vf b) { return _mm_min_ps(a, b); }
PA_INLINE vf vf_max(vf a, vf b) { return _mm_max_ps(a, b); }
PA_INLINE vf vf_sqrt(vf a) { return _mm_sqrt_ps(a); }
PA_INLINE vf vf_abs(vf a) { return _mm_andnot_ps(_mm_set1_ps(-0.0f), a); }
PA_INLINE vf vf_neg(vf a) { return _mm_xor_ps(_mm_set1_ps(-0.0f), a); }
PA_INLINE vf vf_copysign(vf a, vf s) { return _mm_or_ps(vf_abs(a), _mm_and_ps(_mm_set1_ps(-0.0f), s)); }
PA_INLINE vf vf_power_of_two(vf m) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(m), 23)); }
PA_INLINE vfm vf_lt(vf a, vf b) { return _mm_cmplt_ps(a, b); }
PA_INLINE vfm vf_le(vf a, vf b) { return _mm_cmple_ps(a, b); }
PA_INLINE vfm vf_gt(vf a, vf b) { return _mm_cmpgt_ps(a, b); }
PA_INLINE vfm vf_ge(vf a, vf b) { return _mm_cmpge_ps(a, b); }
PA_INLINE vfm vf_eq(vf a, vf b) { return _mm_cmpeq_ps(a, b); }
PA_INLINE vfm vf_ne(vf a, vf b) { return _mm_cmpneq_ps(a, b); }
PA_INLINE vf vf_sel(vfm m, vf a, vf b) { return _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b)); }
PA_INLINE vfm vfm_and(vfm a, vfm b) { return _mm_and_ps(a, b); }
PA_INLINE vfm vfm_or(vfm a, vfm b) { return _mm_or_ps(a, b); }
PA_INLINE vfm vfm_not(vfm a) { return _mm_xor_ps(a, _mm_castsi128_ps(_mm_set1_epi32(-1))); }
PA_INLINE bool vfm_any(vfm m) { return _mm_movemask_ps(m) != 0; }
PA_INLINE unsigned vfm_bits(vfm m) { return (unsigned)_mm_movemask_ps(m); }
PA_INLINE float vf_sum(vf a)
{
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}

PA_INLINE vd vd_load(const double *p) { return _mm_loadu_pd(p); }
PA_INLINE void vd_store(double *p, vd a) { _mm_storeu_pd(p, a); }
PA_INLINE vd vd_load_n(const double *p, int n) { return n >= 2 ? _mm_loadu_pd(p) : n == 1 ? _mm_load_sd(p) : _mm_setzero_pd(); }
PA_INLINE void vd_store_n(double *p, vd a, int n)
{
    if (n >= 2)
        _mm_storeu_pd(p, a);
    else if (n == 1)
        _mm_store_sd(p, a);
}
PA_INLINE vd vd_load_f32(const float *p) { return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)p))); }
PA_INLINE void vd_store_f32(float *p, vd a) { _mm_storel_epi64((__m128i *)(void *)p, _mm_castps_si128(_mm_cvtpd_ps(a))); }
PA_INLINE vd vd_set1(double s) { return _mm_set1_pd(s); }
PA_INLINE vd vd_zero(void) { return _mm_setzero_pd(); }
PA_INLINE vd vd_add(vd a, vd b) { return _mm_add_pd(a, b); }
PA_INLINE vd vd_sub(vd a, vd b) { return _mm_sub_pd(a, b); }
PA_INLINE vd vd_mul(vd a, vd b) { return _mm_mul_pd(a, b); }
PA_INLINE vd vd_div(vd a, vd b) { return _mm_div_pd(a, b); }
PA_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm_add_pd(_mm_mul_pd(a, b), c); }
PA_INLINE vd vd_fnma(vd a, vd b, vd c) { return _mm_sub_pd(c, _mm_mul_pd(a, b)); }
PA_INLINE vd vd_min(vd a, vd b) { return _mm_min_pd(a, b); }
PA_INLINE vd vd_max(vd a, vd b) { return _mm_max_pd(a, b); }
PA_INLINE vd vd_sqrt(vd a) { return _mm_sqrt_pd(a); }
PA_INLINE vd vd_abs(vd a) { return _mm_andnot_pd(_mm_set1_pd(-0.0), a); }
PA_INLINE vd vd_neg(vd a) { return _mm_xor_pd(_mm_set1_pd(-0.0), a); }
PA_INLINE vdm vd_lt(vd a, vd b) { return _mm_cmplt_pd(a, b); }
PA_INLINE vdm vd_le(vd a, vd b) { return _mm_cmple_pd(a, b); }
PA_INLINE vdm vd_gt(vd a, vd b) { return _mm_cmpgt_pd(a, b); }
PA_INLINE vdm vd_ge(vd a, vd b) { return _mm_cmpge_pd(a, b); }
PA_INLINE vdm vd_eq(vd a, vd b) { return _mm_cmpeq_pd(a, b); }
PA_INLINE vdm vd_ne(vd a, vd b) { return _mm_cmpneq_pd(a, b); }
PA_INLINE vd vd_sel(vdm m, vd a, vd b) { return _mm_or_pd(_mm_and_pd(m, a), _mm_andnot_pd(m, b)); }
PA_INLINE vdm vdm_and(vdm a, vdm b) { return _mm_and_pd(a, b); }
PA_INLINE vdm vdm_or(vdm a, vdm b) { return _mm_or_pd(a, b); }
PA_INLINE vdm vdm_not(vdm a) { return _mm_xor_pd(a, _mm_castsi128_pd(_mm_set1_epi32(-1))); }
PA_INLINE bool vdm_any(vdm m) { return _mm_movemask_pd(m) != 0; }
PA_INLINE unsigned vdm_bits(vdm m) { return (unsigned)_mm_movemask_pd(m); }
PA_INLINE double vd_sum(vd a) { return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a))); }

PA_INLINE vi vd_bits(vd a) { return _mm_castpd_si128(a); }
PA_INLINE vd vi_double(vi a) { return _mm_castsi128_pd(a); }
PA_INLINE vi vi_set1(int64_t s) { return _mm_set1_epi64x(s); }
PA_INLINE vi vi_add(vi a, vi b) { return _mm_add_epi64(a, b); }
PA_INLINE vi vi_sub(vi a, vi b) { return _mm_sub_epi64(a, b); }
PA_INLINE vi vi_and(vi a, vi b) { return _mm_and_si128(a, b); }
PA_INLINE vi vi_or(vi a, vi b) { return _mm_or_si128(a, b); }
PA_INLINE vi vi_xor(vi a, vi b) { return _mm_xor_si128(a, b); }
PA_INLINE vi vi_andnot(vi a, vi b) { return _mm_andnot_si128(a, b); }
PA_INLINE vi vi_shl(vi a, int n) { return _mm_slli_epi64(a, n); }
PA_INLINE vi vi_shr(vi a, int n) { return _mm_srli_epi64(a, n); }
PA_INLINE vdm vi_testz(vi a, vi b)
{
    __m128i low = _mm_cmpeq_epi32(_mm_and_si128(a, b), _mm_setzero_si128());
    return _mm_castsi128_pd(_mm_shuffle_epi32(low, 0xa0));
}

PA_INLINE vw vw_low(vd a, vd b) { return _mm_castps_si128(_mm_shuffle_ps(_mm_castpd_ps(a), _mm_castpd_ps(b), 0x88)); }
PA_INLINE vw vw_high(vd a, vd b) { return _mm_castps_si128(_mm_shuffle_ps(_mm_castpd_ps(a), _mm_castpd_ps(b), 0xdd)); }
PA_INLINE vwm vw_in(vw a, int n, uint32_t low, uint32_t count)
{
    /* unsigned order is signed order with the sign bit flipped */
    a = _mm_sub_epi32(_mm_slli_epi32(a, n), _mm_set1_epi32((int)(low ^ 0x80000000u)));
    return _mm_cmplt_epi32(a, _mm_set1_epi32((int)(count ^ 0x80000000u)));
}
PA_INLINE vwm vwm_or(vwm a, vwm b) { return _mm_or_si128(a, b); }
PA_INLINE bool vwm_any(vwm m) { return _mm_movemask_epi8(m) != 0; }
/* clang-format on */

#endif
