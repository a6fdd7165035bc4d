/* keep.h - vr_keep(v) is v, held in a register: where a vector read from memory has
 * several uses, gcc would rather read it again for each, which is dear where it crosses a
 * line. */
#ifndef PA_SIMD_KEEP_H
#define PA_SIMD_KEEP_H

#include "simd/simd.h"

PA_INLINE vr vr_keep(vr v)
{
#if defined(__GNUC__) && defined(__AVX512F__)
    __asm__("" : "+v"(v));
#elif defined(__GNUC__) && defined(__SSE2__)
    __asm__("" : "+x"(v));
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
    return v;
}

#endif
