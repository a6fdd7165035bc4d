/* fpu.h - the calling thread's floating-point environment as one word: rounding mode,
 * flush-to-zero and traps (control) and the sticky exception flags.
 *
 * <fenv.h> would do, but on x86 it also reloads the x87 unit, which costs more than a
 * small chunk of work. */
#ifndef PA_FPU_H
#define PA_FPU_H

#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(_M_ARM64)
#include <intrin.h>
#elif !defined(__aarch64__)
#include <fenv.h>
#endif

typedef struct pa_fpu {
    uint64_t control, flags;
} pa_fpu;

static inline pa_fpu pa_fpu_get(void)
{
#if defined(__x86_64__) || defined(_M_X64)
    unsigned csr = _mm_getcsr();
    return (pa_fpu){csr & ~0x3fu, csr & 0x3fu};
#elif defined(__aarch64__)
    pa_fpu s;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(s.control), "=r"(s.flags));
    return s;
#elif defined(_M_ARM64)
    return (pa_fpu){(uint64_t)_ReadStatusReg(ARM64_FPCR),
                    (uint64_t)_ReadStatusReg(ARM64_FPSR)};
#else
    return (pa_fpu){(uint64_t)fegetround(), (uint64_t)fetestexcept(FE_ALL_EXCEPT)};
#endif
}

static inline void pa_fpu_set(pa_fpu s)
{
#if defined(__x86_64__) || defined(_M_X64)
    _mm_setcsr((unsigned)(s.control | s.flags));
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" ::"r"(s.control), "r"(s.flags));
#elif defined(_M_ARM64)
    _WriteStatusReg(ARM64_FPCR, (__int64)s.control);
    _WriteStatusReg(ARM64_FPSR, (__int64)s.flags);
#else
    fesetround((int)s.control);
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept((int)s.flags);
#endif
}

/* Denormals are taken for zero, and results flushed to zero, until pa_fpu_set puts the
 * old state back. A no-op where the hardware has no such mode. */
static inline void pa_fpu_flush_denormals(void)
{
#if defined(__x86_64__) || defined(_M_X64)
    _mm_setcsr(_mm_getcsr() | 0x8040u); /* FTZ, DAZ */
#elif defined(__aarch64__) || defined(_M_ARM64)
    pa_fpu s = pa_fpu_get();
    s.control |= 1u << 24; /* FZ */
    pa_fpu_set(s);
#endif
}

#endif
