#define _GNU_SOURCE
#include "base/cpu.h"

#include <string.h>

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#elif defined(_WIN32)
#include <windows.h>
#else
#include <unistd.h>
#endif

#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#include <intrin.h>

static bool msvc_has(int leaf7_ebx_bits)
{
    int r[4];
    __cpuid(r, 1);
    bool fma = (r[2] >> 12) & 1, osxsave = (r[2] >> 27) & 1;
    if (!osxsave || !fma)
        return false;
    unsigned long long xcr0 = _xgetbv(0);
    bool wide = leaf7_ebx_bits != (1 << 5);
    if ((xcr0 & 6) != 6 || (wide && (xcr0 & 0xe6) != 0xe6))
        return false;
    __cpuidex(r, 7, 0);
    return (r[1] & leaf7_ebx_bits) == leaf7_ebx_bits;
}
#endif

bool pa_cpu_has(const char *isa)
{
    if (strcmp(isa, "base") == 0)
        return true;
#if defined(__aarch64__) || defined(_M_ARM64)
    return strcmp(isa, "neon") == 0;
#elif defined(__GNUC__) && defined(__x86_64__)
    if (strcmp(isa, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(isa, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("fma");
#elif defined(_MSC_VER) && defined(_M_X64)
    if (strcmp(isa, "avx2") == 0)
        return msvc_has(1 << 5);
    if (strcmp(isa, "avx512") == 0) /* F, DQ, BW, VL */
        return msvc_has((1 << 16) | (1 << 17) | (1 << 30) | (int)(1u << 31));
#endif
    return false;
}

int pa_cpu_count(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
    return 1;
#elif defined(_WIN32)
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return (int)info.dwNumberOfProcessors;
#else
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
#endif
}
