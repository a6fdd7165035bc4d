/* prefetch.h - a hint that the cache line at p is read soon; never faults. */
#ifndef PA_PREFETCH_H
#define PA_PREFETCH_H

#if defined(__GNUC__)
#define PA_PREFETCH(p) __builtin_prefetch(p)
#elif defined(_M_X64)
#include <intrin.h>
#define PA_PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#else
#define PA_PREFETCH(p) ((void)(p))
#endif

#endif
