/* finite.c - is there a NaN or an infinity? One pass of loads, at the speed of the cache.
 *
 * Such a number has all exponent bits set: adding one to the exponent of its magnitude
 * carries into the sign bit, where a running "or" keeps it. Integer arithmetic, so that
 * neither the rounding nor the denormal mode matters, and no sum can overflow. */
#include "graph/graph.h"

#include <string.h>

enum { LANES = 16, CHUNK = 32768, MAX_CHUNKS = 64 };

typedef struct scan {
    const char *data;
    size_t n, per_chunk, itemsize;
    bool found[MAX_CHUNKS];
} scan;

static bool has_32(const char *data, size_t n)
{
    uint32_t any[LANES] = {0}, x[LANES], all = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        memcpy(x, data + i * sizeof *x, sizeof x);
        for (int k = 0; k < LANES; k++)
            any[k] |= (x[k] & UINT32_C(0x7FFFFFFF)) + UINT32_C(0x00800000);
    }
    for (; i < n; i++) {
        memcpy(x, data + i * sizeof *x, sizeof *x);
        all |= (x[0] & UINT32_C(0x7FFFFFFF)) + UINT32_C(0x00800000);
    }
    for (int k = 0; k < LANES; k++)
        all |= any[k];
    return all >> 31;
}

static bool has_64(const char *data, size_t n)
{
    const uint64_t magnitude = UINT64_MAX >> 1, one = UINT64_C(1) << 52;
    uint64_t any[LANES] = {0}, x[LANES], all = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        memcpy(x, data + i * sizeof *x, sizeof x);
        for (int k = 0; k < LANES; k++)
            any[k] |= (x[k] & magnitude) + one;
    }
    for (; i < n; i++) {
        memcpy(x, data + i * sizeof *x, sizeof *x);
        all |= (x[0] & magnitude) + one;
    }
    for (int k = 0; k < LANES; k++)
        all |= any[k];
    return all >> 63;
}

static void scan_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    scan *s = arg;
    size_t lo = (size_t)chunk * s->per_chunk;
    size_t n = s->n - lo < s->per_chunk ? s->n - lo : s->per_chunk;
    const char *data = s->data + lo * s->itemsize;
    (void)worker;
    s->found[chunk] = s->itemsize == 8 ? has_64(data, n) : has_32(data, n);
}

bool pa_all_finite(const pa_tensor *t, pa_pool *pool)
{
    if (t->dtype == PA_I32 || t->size == 0)
        return true;
    scan s = {.data = t->data, .n = t->size, .itemsize = pa_dtype_size(t->dtype)};
    s.per_chunk = t->size / MAX_CHUNKS + 1 > CHUNK ? t->size / MAX_CHUNKS + 1 : CHUNK;
    size_t chunks = (t->size - 1) / s.per_chunk + 1;
    pa_pool_run(pool, scan_chunk, &s, (ptrdiff_t)chunks);
    for (size_t i = 0; i < chunks; i++)
        if (s.found[i])
            return false;
    return true;
}
