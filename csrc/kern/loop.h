/* loop.h - how the plain loops of the operators are cut and marked. */
#ifndef PA_KERN_LOOP_H
#define PA_KERN_LOOP_H

#include "op.h"

/* No iteration depends on another one: out may be in itself, and is otherwise apart from
 * it. `restrict` would promise too much where out is in. */
#if defined(__clang__)
#define PA_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define PA_IVDEP _Pragma("GCC ivdep")
#elif defined(_MSC_VER)
#define PA_IVDEP __pragma(loop(ivdep))
#else
#define PA_IVDEP
#endif

#ifndef PA_INLINE
#if defined(_MSC_VER)
#define PA_INLINE static __forceinline
#elif defined(__GNUC__)
#define PA_INLINE static inline __attribute__((always_inline))
#else
#define PA_INLINE static inline
#endif
#endif

/* Elements per chunk: some microseconds of work each, against the 0.3 us that a spinning
 * worker and the 50 us that a sleeping one take to start. */
enum {
    PA_CHUNK_CHEAP = 1 << 16, /* a few arithmetic instructions per element */
    PA_CHUNK_MATH = 1 << 13,  /* exp, log, pow */
};

static inline ptrdiff_t pa_chunks(size_t n, size_t per)
{
    return (ptrdiff_t)(n / per + (n % per != 0));
}

/* The elements [lo, hi) of chunk i. */
static inline void pa_chunk(size_t n, size_t per, ptrdiff_t i, size_t *lo, size_t *hi)
{
    *lo = (size_t)i * per;
    *hi = n - *lo < per ? n : *lo + per;
}

static inline void pa_run(const pa_ctx *ctx, pa_task *task, void *arg, ptrdiff_t chunks)
{
    if (chunks == 1)
        task(arg, 0, 0);
    else if (chunks > 1)
        pa_pool_run(ctx->pool, task, arg, chunks);
}

#endif
