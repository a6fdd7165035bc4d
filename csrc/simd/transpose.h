/* transpose.h - a small square block, transposed in registers.
 *
 * vr_transpose(src, lds, dst, ldd): dst[j ldd + i] = src[i lds + j] for i, j < VT_N.
 * Two shuffles an element row and level; 256-bit blocks serve AVX-512 as well, where a
 * 16 x 16 block gains nothing over four of 8 x 8. */
#ifndef PA_SIMD_TRANSPOSE_H
#define PA_SIMD_TRANSPOSE_H

#include "simd/simd.h"

#if defined(PA_SIMD_BASE) && !(defined(__x86_64__) || defined(_M_X64))

enum { VT_N = 1 };
PA_INLINE void vr_transpose(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    (void)lds, (void)ldd;
    *dst = *src;
}

#elif !defined(PA_SIMD_BASE) && defined(__AVX__)

#ifdef PA_REAL_IS_DOUBLE
enum { VT_N = 4 };
PA_INLINE void vr_transpose(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    const __m256d r0 = _mm256_loadu_pd(src), r1 = _mm256_loadu_pd(src + lds);
    const __m256d r2 = _mm256_loadu_pd(src + 2 * lds),
                  r3 = _mm256_loadu_pd(src + 3 * lds);
    const __m256d s0 = _mm256_unpacklo_pd(r0, r1), s1 = _mm256_unpackhi_pd(r0, r1);
    const __m256d s2 = _mm256_unpacklo_pd(r2, r3), s3 = _mm256_unpackhi_pd(r2, r3);
    _mm256_storeu_pd(dst, _mm256_permute2f128_pd(s0, s2, 0x20));
    _mm256_storeu_pd(dst + ldd, _mm256_permute2f128_pd(s1, s3, 0x20));
    _mm256_storeu_pd(dst + 2 * ldd, _mm256_permute2f128_pd(s0, s2, 0x31));
    _mm256_storeu_pd(dst + 3 * ldd, _mm256_permute2f128_pd(s1, s3, 0x31));
}
#else
enum { VT_N = 8 };
/* Columns 4h to 4h+3 of rows i (lower half) and i + 4 (upper half): the exchange of
 * halves costs a load instead of a shuffle. */
PA_INLINE __m256 vt_rows_(const real *src, ptrdiff_t lds, int i, int h)
{
    const real *p = src + i * lds + 4 * h;
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)),
                                _mm_loadu_ps(p + 4 * lds), 1);
}
PA_INLINE void vt_half_(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd, int h)
{
    const __m256 r0 = vt_rows_(src, lds, 0, h), r1 = vt_rows_(src, lds, 1, h);
    const __m256 r2 = vt_rows_(src, lds, 2, h), r3 = vt_rows_(src, lds, 3, h);
    const __m256 s0 = _mm256_unpacklo_ps(r0, r1), s1 = _mm256_unpackhi_ps(r0, r1);
    const __m256 s2 = _mm256_unpacklo_ps(r2, r3), s3 = _mm256_unpackhi_ps(r2, r3);
    dst += 4 * h * ldd;
    _mm256_storeu_ps(dst, _mm256_shuffle_ps(s0, s2, 0x44));
    _mm256_storeu_ps(dst + ldd, _mm256_shuffle_ps(s0, s2, 0xee));
    _mm256_storeu_ps(dst + 2 * ldd, _mm256_shuffle_ps(s1, s3, 0x44));
    _mm256_storeu_ps(dst + 3 * ldd, _mm256_shuffle_ps(s1, s3, 0xee));
}
PA_INLINE void vr_transpose(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    vt_half_(src, lds, dst, ldd, 0);
    vt_half_(src, lds, dst, ldd, 1);
}
#endif

#elif defined(__x86_64__) || defined(_M_X64)

#ifdef PA_REAL_IS_DOUBLE
enum { VT_N = 2 };
PA_INLINE void vr_transpose(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    const __m128d r0 = _mm_loadu_pd(src), r1 = _mm_loadu_pd(src + lds);
    _mm_storeu_pd(dst, _mm_unpacklo_pd(r0, r1));
    _mm_storeu_pd(dst + ldd, _mm_unpackhi_pd(r0, r1));
}
#else
enum { VT_N = 4 };
PA_INLINE void vr_transpose(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    const __m128 r0 = _mm_loadu_ps(src), r1 = _mm_loadu_ps(src + lds);
    const __m128 r2 = _mm_loadu_ps(src + 2 * lds), r3 = _mm_loadu_ps(src + 3 * lds);
    const __m128 s0 = _mm_unpacklo_ps(r0, r1), s1 = _mm_unpackhi_ps(r0, r1);
    const __m128 s2 = _mm_unpacklo_ps(r2, r3), s3 = _mm_unpackhi_ps(r2, r3);
    _mm_storeu_ps(dst, _mm_movelh_ps(s0, s2));
    _mm_storeu_ps(dst + ldd, _mm_movehl_ps(s2, s0));
    _mm_storeu_ps(dst + 2 * ldd, _mm_movelh_ps(s1, s3));
    _mm_storeu_ps(dst + 3 * ldd, _mm_movehl_ps(s3, s1));
}
#endif

#else /* NEON */

#ifdef PA_REAL_IS_DOUBLE
enum { VT_N = 2 };
PA_INLINE void vr_transpose(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    const float64x2_t r0 = vld1q_f64(src), r1 = vld1q_f64(src + lds);
    vst1q_f64(dst, vzip1q_f64(r0, r1));
    vst1q_f64(dst + ldd, vzip2q_f64(r0, r1));
}
#else
enum { VT_N = 4 };
PA_INLINE void vr_transpose(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    const float32x4_t r0 = vld1q_f32(src), r1 = vld1q_f32(src + lds);
    const float32x4_t r2 = vld1q_f32(src + 2 * lds), r3 = vld1q_f32(src + 3 * lds);
    const float32x4_t s0 = vzip1q_f32(r0, r2), s1 = vzip2q_f32(r0, r2);
    const float32x4_t s2 = vzip1q_f32(r1, r3), s3 = vzip2q_f32(r1, r3);
    vst1q_f32(dst, vzip1q_f32(s0, s2));
    vst1q_f32(dst + ldd, vzip2q_f32(s0, s2));
    vst1q_f32(dst + 2 * ldd, vzip1q_f32(s1, s3));
    vst1q_f32(dst + 3 * ldd, vzip2q_f32(s1, s3));
}
#endif

#endif
#endif
