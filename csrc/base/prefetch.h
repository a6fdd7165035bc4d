/* prefetch.h - hints that the cache line at p is needed soon: into the first-level cache,
 * into the second alone, or to be written. They never fault. */
#ifndef PA_PREFETCH_H
#define PA_PREFETCH_H

#if defined(__GNUC__)
#define PA_PREFETCH(p)       __builtin_prefetch(p)
#define PA_PREFETCH_L2(p)    __builtin_prefetch(p, 0, 2)
#define PA_PREFETCH_WRITE(p) __builtin_prefetch(p, 1)
#else
#if defined(_M_X64)
#include <intrin.h>
#define PA_PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#else
#define PA_PREFETCH(p) ((void)(p))
#endif
#define PA_PREFETCH_L2(p)    PA_PREFETCH(p)
#define PA_PREFETCH_WRITE(p) PA_PREFETCH(p)
#endif

#endif
