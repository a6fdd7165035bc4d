/* largest.c - one pass of loads, at the speed of the cache.
 *
 * Magnitudes are compared as integers: without their sign, numbers have the order of
 * their bits, infinity comes behind them and NaN behind that. So neither the rounding nor
 * the denormal mode matters, and a NaN is not lost in a comparison. With the sign left in
 * place a number below zero comes behind all of them. */
#include "kern/largest.h"

#include <math.h>
#include <string.h>

#ifdef PA_REAL_IS_DOUBLE
typedef uint64_t bits;
#define INFINITE (UINT64_C(0x7ff) << 52)
#else
typedef uint32_t bits;
#define INFINITE (UINT32_C(0xff) << 23)
#endif
#define MAGNITUDE ((bits) ~((bits)1 << (8 * sizeof(bits) - 1)))

/* Four vectors side by side hide a comparison's latency: three times faster in L1. */
enum { LANES = 256 / sizeof(real), CHUNK = 32768, MAX_CHUNKS = 64 };

/* What is left over is looked at together with some before it: no code but one loop's,
 * which is short, since in a small network all code is fetched anew for every step. */
static bits largest(const real *data, size_t n, bits mask)
{
    real few[LANES];
    bits lane[LANES] = {0}, top = 0;
    if (n < LANES) {
        memset(few, 0, sizeof few);
        memcpy(few, data, n * sizeof *few);
        data = few;
        n = LANES;
    }
    for (size_t i = LANES, next; i <= n; i = next) {
        for (size_t k = 0; k < LANES; k++) {
            bits x;
            memcpy(&x, data + i - LANES + k, sizeof x);
            x &= mask;
            lane[k] = x > lane[k] ? x : lane[k];
        }
        next = i + LANES <= n || i == n ? i + LANES : n;
    }
    for (size_t k = 0; k < LANES; k++)
        top = lane[k] > top ? lane[k] : top;
    return top;
}

static double number(bits x)
{
    real r;
    memcpy(&r, &x, sizeof r);
    return x < INFINITE ? (double)r : INFINITY;
}

typedef struct scan {
    const real *data;
    size_t n, per_chunk;
    ptrdiff_t chunks;
    bits mask, *found; /* found: (chunks,) */
} scan;

/* From the end: what was written last is still in the cache, and what is looked at last
 * is what an optimizer reads first. */
static void scan_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const scan *s = arg;
    chunk = s->chunks - 1 - chunk;
    size_t lo = (size_t)chunk * s->per_chunk;
    (void)worker;
    s->found[chunk] = largest(
        s->data + lo, s->n - lo < s->per_chunk ? s->n - lo : s->per_chunk, s->mask);
}

double PA_(pa_largest)(const void *data, size_t n, bool positive, pa_pool *pool)
{
    bits found[MAX_CHUNKS], top = 0;
    scan s = {.data = data, .n = n, .found = found};
    s.mask = positive ? (bits) ~(bits)0 : MAGNITUDE;
    if (n <= CHUNK)
        return number(largest(data, n, s.mask));
    s.per_chunk = n / MAX_CHUNKS + 1 > CHUNK ? n / MAX_CHUNKS + 1 : CHUNK;
    s.chunks = (ptrdiff_t)((n - 1) / s.per_chunk + 1);
    pa_pool_run(pool, scan_chunk, &s, s.chunks);
    for (ptrdiff_t i = 0; i < s.chunks; i++)
        top = found[i] > top ? found[i] : top;
    return number(top);
}
