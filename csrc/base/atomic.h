/* atomic.h - numbers that several threads read and write, and variables that each thread
 * has for itself. All atomics are sequentially consistent: none of them is on a hot path,
 * and the pool's proofs lean on one total order. */
#ifndef PA_ATOMIC_H
#define PA_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define PA_THREAD_LOCAL __declspec(thread)
#else
#define PA_THREAD_LOCAL _Thread_local
#endif

#if defined(_MSC_VER) && !defined(__clang__) /* <stdatomic.h> may be missing */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

typedef struct pa_atomic {
    volatile LONG64 v;
} pa_atomic;

static inline int64_t pa_atomic_get(const pa_atomic *a)
{
    return InterlockedCompareExchange64((volatile LONG64 *)&a->v, 0, 0);
}
static inline int64_t pa_atomic_swap(pa_atomic *a, int64_t v)
{
    return InterlockedExchange64(&a->v, v);
}
static inline int64_t pa_atomic_add(pa_atomic *a, int64_t v) /* returns the old value */
{
    return InterlockedExchangeAdd64(&a->v, v);
}
static inline int64_t pa_atomic_or(pa_atomic *a, int64_t v)
{
    return InterlockedOr64(&a->v, v);
}
static inline bool pa_atomic_cas(pa_atomic *a, int64_t from, int64_t to)
{
    return InterlockedCompareExchange64(&a->v, to, from) == from;
}

#else
#include <stdatomic.h>

typedef struct pa_atomic {
    _Atomic int64_t v;
} pa_atomic;

static inline int64_t pa_atomic_get(const pa_atomic *a)
{
    return atomic_load(&((pa_atomic *)(uintptr_t)a)->v);
}
static inline int64_t pa_atomic_swap(pa_atomic *a, int64_t v)
{
    return atomic_exchange(&a->v, v);
}
static inline int64_t pa_atomic_add(pa_atomic *a, int64_t v) /* returns the old value */
{
    return atomic_fetch_add(&a->v, v);
}
static inline int64_t pa_atomic_or(pa_atomic *a, int64_t v)
{
    return atomic_fetch_or(&a->v, v);
}
static inline bool pa_atomic_cas(pa_atomic *a, int64_t from, int64_t to)
{
    return atomic_compare_exchange_strong(&a->v, &from, to);
}
#endif

static inline void pa_atomic_set(pa_atomic *a, int64_t v)
{
    (void)pa_atomic_swap(a, v);
}

/* Tells the core that this is a spin loop. */
static inline void pa_cpu_relax(void)
{
#if defined(_MSC_VER) && !defined(__clang__)
    YieldProcessor();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` is a no-op on most cores */
#endif
}

#endif
