/* finite.c - is there a NaN or an infinity? One pass of loads, at the speed of the cache.
 *
 * Such a number has all exponent bits set: adding one to the exponent of its magnitude
 * carries into the sign bit, where a running "or" keeps it. Integer arithmetic, so that
 * neither the rounding nor the denormal mode matters, and no sum can overflow. */
#include "kern/finite.h"

#include <string.h>

#ifdef PA_REAL_IS_DOUBLE
typedef uint64_t bits;
#define EXPONENT_ONE (UINT64_C(1) << 52)
#else
typedef uint32_t bits;
#define EXPONENT_ONE (UINT32_C(1) << 23)
#endif

enum { CHUNK = 32768, MAX_CHUNKS = 64 };

static bool has(const real *data, size_t n)
{
    const bits sign = (bits)1 << (8 * sizeof(bits) - 1);
    bits any = 0;
    for (size_t i = 0; i < n; i++) {
        bits x;
        memcpy(&x, data + i, sizeof x);
        any |= (bits)((x & (bits)~sign) + EXPONENT_ONE);
    }
    return any & sign;
}

typedef struct scan {
    const real *data;
    size_t n, per_chunk;
    ptrdiff_t chunks;
    bool found[MAX_CHUNKS];
} scan;

/* From the end: what was written last is still in the cache, and what is looked at last
 * is what an optimizer reads first. */
static void scan_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    scan *s = arg;
    chunk = s->chunks - 1 - chunk;
    size_t lo = (size_t)chunk * s->per_chunk;
    (void)worker;
    s->found[chunk] =
        has(s->data + lo, s->n - lo < s->per_chunk ? s->n - lo : s->per_chunk);
}

bool PA_(pa_all_finite)(const void *data, size_t n, pa_pool *pool)
{
    if (n == 0)
        return true;
    scan s = {.data = data, .n = n};
    s.per_chunk = n / MAX_CHUNKS + 1 > CHUNK ? n / MAX_CHUNKS + 1 : CHUNK;
    s.chunks = (ptrdiff_t)((n - 1) / s.per_chunk + 1);
    pa_pool_run(pool, scan_chunk, &s, s.chunks);
    for (ptrdiff_t i = 0; i < s.chunks; i++)
        if (s.found[i])
            return false;
    return true;
}
