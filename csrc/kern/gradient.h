/* gradient.h - what the operators share that clip gradients in place. */
#include <math.h>

#include "base/shape.h"
#include "kern/loop.h"
#include "kern/reduce.h"

typedef struct gradient {
    real *g; /* (n,) */
    size_t n;
    double clip;
    double *partial; /* a sum per chunk */
} gradient;

static inline pa_status gradient_shape(pa_call *c, pa_error *err)
{
    size_t most = 0;
    c->flops = 0;
    c->saved_bytes = 0;
    for (int i = 0; i < c->n_in; i++) {
        pa_status st = pa_want_dtype(c->op->name, "grad", c->in[i], PA_REAL, err);
        if (st)
            return st;
        most = c->in[i]->size > most ? c->in[i]->size : most;
        c->flops += 3 * (double)c->in[i]->size;
    }
    c->scratch_bytes = (size_t)pa_chunks(most, PA_CHUNK_CHEAP) * sizeof(double);
    return PA_OK;
}

/* Squares of float32 are exact in double and never overflow there. */
static inline void gradient_sumsq_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const gradient *s = arg;
    double square[512], total = 0;
    size_t lo, hi;
    (void)worker;
    pa_chunk(s->n, PA_CHUNK_CHEAP, chunk, &lo, &hi);
    while (lo < hi) {
        size_t k = hi - lo < 512 ? hi - lo : 512;
        for (size_t i = 0; i < k; i++)
            square[i] = (double)s->g[lo + i] * (double)s->g[lo + i];
        total += PA_(pa_reduce_row_wide)(square, k);
        lo += k;
    }
    s->partial[chunk] = total;
}

static inline double gradient_sumsq(const gradient *s, const pa_ctx *ctx)
{
    ptrdiff_t chunks = pa_chunks(s->n, PA_CHUNK_CHEAP);
    double total = 0;
    pa_run(ctx, gradient_sumsq_chunk, (void *)s, chunks);
    for (ptrdiff_t i = 0; i < chunks; i++)
        total += s->partial[i];
    return total;
}

typedef struct scaling {
    const gradient *s;
    double by;
} scaling;

static inline void gradient_scale_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const scaling *w = arg;
    real *g = w->s->g, by = (real)w->by;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->s->n, PA_CHUNK_CHEAP, chunk, &lo, &hi);
    for (size_t i = lo; i < hi; i++)
        g[i] *= by;
}

/* g *= clip / max(norm, clip); nothing is touched where the factor is 1. */
static inline void gradient_scale(const gradient *s, double norm, const pa_ctx *ctx)
{
    if (norm <= s->clip)
        return;
    scaling w = {s, norm - norm == 0 ? s->clip / norm : NAN};
    pa_run(ctx, gradient_scale_chunk, &w, pa_chunks(s->n, PA_CHUNK_CHEAP));
}
