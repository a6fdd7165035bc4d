/* max - y = largest x over `axis` (all axes when none is named), NaN where there is one
 *
 * Derivative: dy goes to the largest element, in equal parts to several that tie, as in
 * TensorFlow and JAX. NaN counts as the largest where there is one. The maximum of
 * nothing is refused. */
#include "kern/reduce_op.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = reduce_shape(c, err);
    if (st)
        return st;
    if (c->in[0]->size == 0 && c->out[0]->size > 0) {
        char text[128];
        return pa_fail(
            err, PA_EVALUE,
            "max: x has shape %s: the maximum over an axis of length 0 does not "
            "exist",
            pa_shape_text(c->in[0], text));
    }
    size_t bytes; /* backward: a count of ties for each result */
    if (!pa_mul(c->out[0]->size, sizeof(double), &bytes) ||
        !pa_add(c->scratch_bytes, bytes, &c->scratch_bytes))
        return pa_fail(err, PA_EOVERFLOW, "max: scratch does not fit in memory");
    return PA_OK;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    pa_fold fold;
    pa_fold_init(&fold, c->in[0], axes(c));
    pa_reduction r = {.fold = &fold,
                      .x = c->in[0]->data,
                      .max = true,
                      .divisor = 1,
                      .out = c->out[0]->data,
                      .partial = c->scratch};
    PA_(pa_reduce)(&r, ctx);
}

/* ---- backward -------------------------------------------------------------------------
 */

typedef struct pair {
    const real *x, *y;
} pair;

static inline bool is_max(real x, real y)
{
    return (x == y) | ((x != x) & (y != y));
}

/* One y for all elements (step 0) or one for each. */
PA_INLINE void ties(double *buf, const real *x, const real *y, size_t step, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf[i] = is_max(x[i], y[i * step]) ? 1 : 0;
}

static void count_ties(const void *src, double *buf, size_t at, size_t n, size_t o,
                       size_t os)
{
    const pair *s = src;
    if (os)
        ties(buf, s->x + at, s->y + o, 1, n);
    else
        ties(buf, s->x + at, s->y + o, 0, n);
}

PA_INLINE void share(real *dx, const real *x, const real *y, const real *dy,
                     const double *count, size_t step, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        real part = (real)((double)dy[i * step] / count[i * step]);
        dx[i] = is_max(x[i], y[i * step]) ? part : 0;
    }
}

static void spread(const job *w, size_t at, size_t n, size_t o, size_t step)
{
    if (step)
        share(w->dx + at, w->x + at, w->y + o, w->dy + o, w->count + o, 1, n);
    else
        share(w->dx + at, w->x + at, w->y + o, w->dy + o, w->count + o, 0, n);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    pa_fold fold;
    if (!c->din[0])
        return;
    pa_fold_init(&fold, c->in[0], axes(c));
    double *count = c->scratch;
    pair p = {c->in[0]->data, c->out[0]->data};
    pa_reduction r = {.fold = &fold,
                      .fill = count_ties,
                      .src = &p,
                      .divisor = 1,
                      .wide = count,
                      .partial = count + fold.n_out};
    PA_(pa_reduce)(&r, ctx);
    job w = {.spread = spread,
             .dx = c->din[0]->data,
             .x = p.x,
             .dy = c->dout[0]->data,
             .y = p.y,
             .count = count};
    spread_all(c, &w, PA_CHUNK_CHEAP, ctx);
}

const pa_op PA_(pa_op_max) = {
    .name = "max",
    .formula = "largest x over axis",
    .kind = PA_KIND_REDUCE,
    .flags = PA_NEEDS_IN | PA_NEEDS_OUT,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = reduce_attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
