/* transpose.h - a small block, transposed in registers.
 *
 * vr_columns(src, lds, col): col[j] = src[j], src[lds + j], src[2 lds + j] ... in the
 * lanes of a vector, for j < VT_COLS.
 * vr_transpose(src, lds, dst, ldd): dst[j ldd + i] = src[i lds + j] for i, j < VT_N;
 * vr_transpose_part: for i < VT_N, j < VT_PART.
 *
 * Two shuffles an element row and level; the exchange of quarters or halves costs loads
 * instead. On AVX-512, squares take 256 bits: half the lanes, but of any narrow block. */
#ifndef PA_SIMD_TRANSPOSE_H
#define PA_SIMD_TRANSPOSE_H

#include "simd/simd.h"

#if defined(PA_SIMD_BASE) && !(defined(__x86_64__) || defined(_M_X64))

enum { VT_N = 1, VT_PART = 1, VT_COLS = 1 };
PA_INLINE void vr_columns(const real *src, ptrdiff_t lds, vr *col)
{
    real t[VR_N];
    for (int i = 0; i < VR_N; i++)
        t[i] = src[i * lds];
    *col = vr_load(t);
}
PA_INLINE void vr_transpose_part(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    (void)lds, (void)ldd;
    *dst = *src;
}

#else

#if !defined(PA_SIMD_BASE) && defined(__AVX__)

#ifdef PA_REAL_IS_DOUBLE
enum { VT_N = 4, VT_PART = 4 };
typedef __m256d vt;
#define vt_store_ _mm256_storeu_pd
PA_INLINE void vt_part_(const real *src, ptrdiff_t lds, vt *col)
{
    const vt r0 = _mm256_loadu_pd(src), r1 = _mm256_loadu_pd(src + lds);
    const vt r2 = _mm256_loadu_pd(src + 2 * lds), r3 = _mm256_loadu_pd(src + 3 * lds);
    const vt s0 = _mm256_unpacklo_pd(r0, r1), s1 = _mm256_unpackhi_pd(r0, r1);
    const vt s2 = _mm256_unpacklo_pd(r2, r3), s3 = _mm256_unpackhi_pd(r2, r3);
    col[0] = _mm256_permute2f128_pd(s0, s2, 0x20);
    col[1] = _mm256_permute2f128_pd(s1, s3, 0x20);
    col[2] = _mm256_permute2f128_pd(s0, s2, 0x31);
    col[3] = _mm256_permute2f128_pd(s1, s3, 0x31);
}
#else
enum { VT_N = 8, VT_PART = 4 };
typedef __m256 vt;
#define vt_store_ _mm256_storeu_ps
/* Rows i (lower half) and i + 4 (upper half). */
PA_INLINE vt vt_rows_(const real *src, ptrdiff_t lds, int i)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src + i * lds)),
                                _mm_loadu_ps(src + (i + 4) * lds), 1);
}
PA_INLINE void vt_part_(const real *src, ptrdiff_t lds, vt *col)
{
    const vt r0 = vt_rows_(src, lds, 0), r1 = vt_rows_(src, lds, 1);
    const vt r2 = vt_rows_(src, lds, 2), r3 = vt_rows_(src, lds, 3);
    const vt s0 = _mm256_unpacklo_ps(r0, r1), s1 = _mm256_unpackhi_ps(r0, r1);
    const vt s2 = _mm256_unpacklo_ps(r2, r3), s3 = _mm256_unpackhi_ps(r2, r3);
    col[0] = _mm256_shuffle_ps(s0, s2, 0x44);
    col[1] = _mm256_shuffle_ps(s0, s2, 0xee);
    col[2] = _mm256_shuffle_ps(s1, s3, 0x44);
    col[3] = _mm256_shuffle_ps(s1, s3, 0xee);
}
#endif

#elif defined(__x86_64__) || defined(_M_X64)

#ifdef PA_REAL_IS_DOUBLE
enum { VT_N = 2, VT_PART = 2 };
typedef __m128d vt;
#define vt_store_ _mm_storeu_pd
PA_INLINE void vt_part_(const real *src, ptrdiff_t lds, vt *col)
{
    const vt r0 = _mm_loadu_pd(src), r1 = _mm_loadu_pd(src + lds);
    col[0] = _mm_unpacklo_pd(r0, r1);
    col[1] = _mm_unpackhi_pd(r0, r1);
}
#else
enum { VT_N = 4, VT_PART = 4 };
typedef __m128 vt;
#define vt_store_ _mm_storeu_ps
PA_INLINE void vt_part_(const real *src, ptrdiff_t lds, vt *col)
{
    const vt r0 = _mm_loadu_ps(src), r1 = _mm_loadu_ps(src + lds);
    const vt r2 = _mm_loadu_ps(src + 2 * lds), r3 = _mm_loadu_ps(src + 3 * lds);
    const vt s0 = _mm_unpacklo_ps(r0, r1), s1 = _mm_unpackhi_ps(r0, r1);
    const vt s2 = _mm_unpacklo_ps(r2, r3), s3 = _mm_unpackhi_ps(r2, r3);
    col[0] = _mm_movelh_ps(s0, s2);
    col[1] = _mm_movehl_ps(s2, s0);
    col[2] = _mm_movelh_ps(s1, s3);
    col[3] = _mm_movehl_ps(s3, s1);
}
#endif

#else /* NEON */

#ifdef PA_REAL_IS_DOUBLE
enum { VT_N = 2, VT_PART = 2 };
typedef float64x2_t vt;
#define vt_store_ vst1q_f64
PA_INLINE void vt_part_(const real *src, ptrdiff_t lds, vt *col)
{
    const vt r0 = vld1q_f64(src), r1 = vld1q_f64(src + lds);
    col[0] = vzip1q_f64(r0, r1);
    col[1] = vzip2q_f64(r0, r1);
}
#else
enum { VT_N = 4, VT_PART = 4 };
typedef float32x4_t vt;
#define vt_store_ vst1q_f32
PA_INLINE void vt_part_(const real *src, ptrdiff_t lds, vt *col)
{
    const vt r0 = vld1q_f32(src), r1 = vld1q_f32(src + lds);
    const vt r2 = vld1q_f32(src + 2 * lds), r3 = vld1q_f32(src + 3 * lds);
    const vt s0 = vzip1q_f32(r0, r2), s1 = vzip2q_f32(r0, r2);
    const vt s2 = vzip1q_f32(r1, r3), s3 = vzip2q_f32(r1, r3);
    col[0] = vzip1q_f32(s0, s2);
    col[1] = vzip2q_f32(s0, s2);
    col[2] = vzip1q_f32(s1, s3);
    col[3] = vzip2q_f32(s1, s3);
}
#endif

#endif

PA_INLINE void vr_transpose_part(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    vt col[VT_PART];
    vt_part_(src, lds, col);
    for (int j = 0; j < VT_PART; j++)
        vt_store_(dst + j * ldd, col[j]);
}

#if !defined(PA_SIMD_BASE) && defined(__AVX512F__)

#ifdef PA_REAL_IS_DOUBLE
enum { VT_COLS = 4 };
/* Rows i (lower half) and i + 2 (upper half). */
PA_INLINE vr vt_pair_(const real *src, ptrdiff_t lds, int i)
{
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(src + i * lds)),
                              _mm256_loadu_pd(src + (i + 2) * lds), 1);
}
PA_INLINE void vr_columns(const real *src, ptrdiff_t lds, vr *col)
{
    const vr r0 = vt_pair_(src, lds, 0), r1 = vt_pair_(src, lds, 1);
    const vr r4 = vt_pair_(src, lds, 4), r5 = vt_pair_(src, lds, 5);
    const vr s0 = _mm512_unpacklo_pd(r0, r1), s1 = _mm512_unpackhi_pd(r0, r1);
    const vr s2 = _mm512_unpacklo_pd(r4, r5), s3 = _mm512_unpackhi_pd(r4, r5);
    col[0] = _mm512_shuffle_f64x2(s0, s2, 0x88);
    col[1] = _mm512_shuffle_f64x2(s1, s3, 0x88);
    col[2] = _mm512_shuffle_f64x2(s0, s2, 0xdd);
    col[3] = _mm512_shuffle_f64x2(s1, s3, 0xdd);
}
#else
enum { VT_COLS = 8 };
/* Rows i (lower half) and i + 4 (upper half). */
PA_INLINE vr vt_pair_(const real *src, ptrdiff_t lds, int i)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(src + i * lds)),
                              _mm256_loadu_ps(src + (i + 4) * lds), 1);
}
/* Columns 0 to 3 and, in the odd quarters, 4 to 7 of rows 0 to 7. */
PA_INLINE void vt_eight_(const real *src, ptrdiff_t lds, vr *t)
{
    const vr r0 = vt_pair_(src, lds, 0), r1 = vt_pair_(src, lds, 1);
    const vr r2 = vt_pair_(src, lds, 2), r3 = vt_pair_(src, lds, 3);
    const vr s0 = _mm512_unpacklo_ps(r0, r1), s1 = _mm512_unpackhi_ps(r0, r1);
    const vr s2 = _mm512_unpacklo_ps(r2, r3), s3 = _mm512_unpackhi_ps(r2, r3);
    t[0] = _mm512_shuffle_ps(s0, s2, 0x44);
    t[1] = _mm512_shuffle_ps(s0, s2, 0xee);
    t[2] = _mm512_shuffle_ps(s1, s3, 0x44);
    t[3] = _mm512_shuffle_ps(s1, s3, 0xee);
}
PA_INLINE void vr_columns(const real *src, ptrdiff_t lds, vr *col)
{
    vr low[4], high[4];
    vt_eight_(src, lds, low);
    vt_eight_(src + 8 * lds, lds, high);
    for (int j = 0; j < 4; j++) {
        col[j] = _mm512_shuffle_f32x4(low[j], high[j], 0x88);
        col[j + 4] = _mm512_shuffle_f32x4(low[j], high[j], 0xdd);
    }
}
#endif

#else

enum { VT_COLS = VT_PART };
PA_INLINE void vr_columns(const real *src, ptrdiff_t lds, vr *col)
{
    vt_part_(src, lds, col);
}

#endif

#endif

PA_INLINE void vr_transpose(const real *src, ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    for (int j = 0; j < VT_N; j += VT_PART)
        vr_transpose_part(src + j, lds, dst + j * ldd, ldd);
}

#endif
