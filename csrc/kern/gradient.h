/* gradient.h - what the gradient operators share: shapes of a gradient changed in place,
 * and the sum of its squares in double, partial sums combined in the order of chunks. */
#include <math.h>

#include "kern/loop.h"

static pa_status gradient_shape(pa_call *c, bool needs_sum, pa_error *err)
{
    const pa_tensor *g = c->in[0];
    if (g->dtype != PA_REAL)
        return pa_fail(err, PA_ETYPE, "%s: grad is %s, expected %s", c->op->name,
                       pa_dtype_name(g->dtype), pa_dtype_name(PA_REAL));
    c->flops = 2 * (double)g->size;
    c->saved_bytes = 0;
    c->scratch_bytes =
        needs_sum ? (size_t)pa_chunks(g->size, PA_CHUNK_CHEAP) * sizeof(double) : 0;
    return PA_OK;
}

typedef struct job {
    real *g; /* (n,) */
    size_t n;
    double *partial; /* one a chunk */
    real scale;
} job;

static inline void sum_chunk(void *arg, ptrdiff_t i, int worker)
{
    const job *w = arg;
    size_t lo, hi;
    double sum[8] = {0};
    (void)worker;
    pa_chunk(w->n, PA_CHUNK_CHEAP, i, &lo, &hi);
    for (; hi - lo >= 8; lo += 8)
        for (size_t k = 0; k < 8; k++)
            sum[k] += (double)w->g[lo + k] * (double)w->g[lo + k];
    for (size_t k = 0; lo < hi; lo++, k++)
        sum[k] += (double)w->g[lo] * (double)w->g[lo];
    w->partial[i] =
        ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static inline double sum_of_squares(const pa_call *c, const pa_ctx *ctx)
{
    job w = {.g = c->in[0]->data, .n = c->in[0]->size, .partial = c->scratch};
    ptrdiff_t chunks = pa_chunks(w.n, PA_CHUNK_CHEAP);
    double sum = 0;
    pa_run(ctx, sum_chunk, &w, chunks);
    for (ptrdiff_t i = 0; i < chunks; i++)
        sum += w.partial[i];
    return sum;
}

static inline void scale_chunk(void *arg, ptrdiff_t i, int worker)
{
    const job *w = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->n, PA_CHUNK_CHEAP, i, &lo, &hi);
    for (; lo < hi; lo++)
        w->g[lo] *= w->scale;
}

/* g to norm at most `clip`, its norm (or that of all gradients together) being the root
 * of `squares`. A norm of NaN leaves it alone; one of infinity makes it 0 and NaN. */
static inline void scale_to(const pa_call *c, double squares, double clip,
                            const pa_ctx *ctx)
{
    double norm = sqrt(squares);
    job w = {.g = c->in[0]->data, .n = c->in[0]->size, .scale = (real)(clip / norm)};
    if (norm > clip)
        pa_run(ctx, scale_chunk, &w, pa_chunks(w.n, PA_CHUNK_CHEAP));
}

static const pa_attr_desc clip_attrs[] = {
    {"clip", PA_ATTR_REAL, 1, 0, HUGE_VAL, "bound"},
    {NULL, 0, 0, 0, 0, NULL},
};
