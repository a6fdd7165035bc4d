/* bits.h - vrm_of(bits): the mask of the lanes whose bit is set, vrm_bits's inverse. */
#ifndef PA_SIMD_BITS_H
#define PA_SIMD_BITS_H

#include "simd/simd.h"

PA_INLINE vrm vrm_of(unsigned bits)
{
#if !defined(PA_SIMD_BASE) && defined(__AVX512F__) && defined(__AVX512DQ__)
    return (vrm)bits;
#else
    real lane[VR_N];
    for (int i = 0; i < VR_N; i++)
        lane[i] = (real)(bits >> i & 1);
    return vr_ne(vr_load(lane), vr_zero());
#endif
}

#endif
