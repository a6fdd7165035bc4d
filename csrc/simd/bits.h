/* bits.h - vrm_of(bits): the mask of the lanes whose bit is set, vrm_bits's inverse. */
#ifndef PA_SIMD_BITS_H
#define PA_SIMD_BITS_H

#include "simd/simd.h"

PA_INLINE vrm vrm_of(unsigned bits)
{
#if defined(PA_SIMD_BASE) && !(defined(__x86_64__) || defined(_M_X64))
    return bits & 1;
#elif !defined(PA_SIMD_BASE) && defined(__AVX512F__) && defined(__AVX512DQ__)
    return (vrm)bits;
#elif !defined(PA_SIMD_BASE) && defined(__AVX2__)
#ifdef PA_REAL_IS_DOUBLE
    const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
    const __m256i found = _mm256_and_si256(_mm256_set1_epi64x(bits), lane);
    return _mm256_castsi256_pd(_mm256_cmpeq_epi64(found, lane));
#else
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i found = _mm256_and_si256(_mm256_set1_epi32((int)bits), lane);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(found, lane));
#endif
#elif defined(__x86_64__) || defined(_M_X64)
#ifdef PA_REAL_IS_DOUBLE
    const __m128i lane = _mm_setr_epi32(1, 1, 2, 2);
#else
    const __m128i lane = _mm_setr_epi32(1, 2, 4, 8);
#endif
    const __m128i all =
        _mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32((int)bits), lane), lane);
#ifdef PA_REAL_IS_DOUBLE
    return _mm_castsi128_pd(all);
#else
    return _mm_castsi128_ps(all);
#endif
#else /* NEON */
#ifdef PA_REAL_IS_DOUBLE
    static const uint64_t lane[] = {1, 2};
    return vtstq_u64(vdupq_n_u64(bits), vld1q_u64(lane));
#else
    static const uint32_t lane[] = {1, 2, 4, 8};
    return vtstq_u32(vdupq_n_u32(bits), vld1q_u32(lane));
#endif
#endif
}

#endif
