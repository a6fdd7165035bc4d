/* zip.h - the lanes of two vectors, sorted apart and together.
 *
 * vr_even(a, b), vr_odd(a, b): lanes 0, 2, 4, ... and 1, 3, 5, ... of a followed by b.
 * vr_zip_low(a, b), vr_zip_high(a, b): the two halves of a0 b0 a1 b1 a2 b2 ... */
#ifndef PA_SIMD_ZIP_H
#define PA_SIMD_ZIP_H

#include "simd/simd.h"

/* clang-format off */
#if defined(PA_SIMD_BASE) && !(defined(__x86_64__) || defined(_M_X64))

PA_INLINE vr vr_even(vr a, vr b) { (void)b; return a; }
PA_INLINE vr vr_odd(vr a, vr b) { (void)a; return b; }
PA_INLINE vr vr_zip_low(vr a, vr b) { (void)b; return a; }
PA_INLINE vr vr_zip_high(vr a, vr b) { (void)a; return b; }

#elif !defined(PA_SIMD_BASE) && defined(__AVX512F__) && defined(__AVX512DQ__)

#ifdef PA_REAL_IS_DOUBLE
#define PA_PICK_(a, b, ...) _mm512_permutex2var_pd(a, _mm512_setr_epi64(__VA_ARGS__), b)
PA_INLINE vr vr_even(vr a, vr b) { return PA_PICK_(a, b, 0, 2, 4, 6, 8, 10, 12, 14); }
PA_INLINE vr vr_odd(vr a, vr b) { return PA_PICK_(a, b, 1, 3, 5, 7, 9, 11, 13, 15); }
PA_INLINE vr vr_zip_low(vr a, vr b) { return PA_PICK_(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
PA_INLINE vr vr_zip_high(vr a, vr b) { return PA_PICK_(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#else
#define PA_PICK_(a, b, ...) _mm512_permutex2var_ps(a, _mm512_setr_epi32(__VA_ARGS__), b)
PA_INLINE vr vr_even(vr a, vr b) { return PA_PICK_(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30); }
PA_INLINE vr vr_odd(vr a, vr b) { return PA_PICK_(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31); }
PA_INLINE vr vr_zip_low(vr a, vr b) { return PA_PICK_(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
PA_INLINE vr vr_zip_high(vr a, vr b) { return PA_PICK_(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31); }
#endif
#undef PA_PICK_

#elif !defined(PA_SIMD_BASE) && defined(__AVX2__)

#ifdef PA_REAL_IS_DOUBLE
PA_INLINE vr vr_even(vr a, vr b) { return _mm256_permute4x64_pd(_mm256_unpacklo_pd(a, b), 0xd8); }
PA_INLINE vr vr_odd(vr a, vr b) { return _mm256_permute4x64_pd(_mm256_unpackhi_pd(a, b), 0xd8); }
PA_INLINE vr vr_zip_low(vr a, vr b) { return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x20); }
PA_INLINE vr vr_zip_high(vr a, vr b) { return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x31); }
#else
PA_INLINE vr vr_swap_middle_(vr a) { return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), 0xd8)); }
PA_INLINE vr vr_even(vr a, vr b) { return vr_swap_middle_(_mm256_shuffle_ps(a, b, 0x88)); }
PA_INLINE vr vr_odd(vr a, vr b) { return vr_swap_middle_(_mm256_shuffle_ps(a, b, 0xdd)); }
PA_INLINE vr vr_zip_low(vr a, vr b) { return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20); }
PA_INLINE vr vr_zip_high(vr a, vr b) { return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31); }
#endif

#elif defined(__x86_64__) || defined(_M_X64)

#ifdef PA_REAL_IS_DOUBLE
PA_INLINE vr vr_even(vr a, vr b) { return _mm_unpacklo_pd(a, b); }
PA_INLINE vr vr_odd(vr a, vr b) { return _mm_unpackhi_pd(a, b); }
PA_INLINE vr vr_zip_low(vr a, vr b) { return _mm_unpacklo_pd(a, b); }
PA_INLINE vr vr_zip_high(vr a, vr b) { return _mm_unpackhi_pd(a, b); }
#else
PA_INLINE vr vr_even(vr a, vr b) { return _mm_shuffle_ps(a, b, 0x88); }
PA_INLINE vr vr_odd(vr a, vr b) { return _mm_shuffle_ps(a, b, 0xdd); }
PA_INLINE vr vr_zip_low(vr a, vr b) { return _mm_unpacklo_ps(a, b); }
PA_INLINE vr vr_zip_high(vr a, vr b) { return _mm_unpackhi_ps(a, b); }
#endif

#else /* NEON */

#ifdef PA_REAL_IS_DOUBLE
PA_INLINE vr vr_even(vr a, vr b) { return vuzp1q_f64(a, b); }
PA_INLINE vr vr_odd(vr a, vr b) { return vuzp2q_f64(a, b); }
PA_INLINE vr vr_zip_low(vr a, vr b) { return vzip1q_f64(a, b); }
PA_INLINE vr vr_zip_high(vr a, vr b) { return vzip2q_f64(a, b); }
#else
PA_INLINE vr vr_even(vr a, vr b) { return vuzp1q_f32(a, b); }
PA_INLINE vr vr_odd(vr a, vr b) { return vuzp2q_f32(a, b); }
PA_INLINE vr vr_zip_low(vr a, vr b) { return vzip1q_f32(a, b); }
PA_INLINE vr vr_zip_high(vr a, vr b) { return vzip2q_f32(a, b); }
#endif

#endif
/* clang-format on */

#endif
