/* logsumexp - y = log(sum exp x) over `axis` (all axes when none is named)
 *
 * With m = max x: y = m + log1p(rest), rest = sum exp(x - m) over all but one of the
 * largest, in double. Derivative: dx = dy exp(x - m) / (1 + rest).
 * Special cases: nothing, or nothing but -inf, gives -inf; a +inf gives +inf; NaN gives
 * NaN. Where y is not finite the gradient is NaN.
 *
 * Saved: for each result m, then for each 1 + rest. */
#include "kern/reduce_op.h"

#include "kern/block.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = reduce_shape(c, err);
    if (st)
        return st;
    size_t bytes;
    if (!pa_mul(c->out[0]->size, 2 * sizeof(double), &c->saved_bytes) ||
        !pa_mul(c->out[0]->size, sizeof(double), &bytes) ||
        !pa_add(c->scratch_bytes, bytes, &c->scratch_bytes))
        return pa_fail(err, PA_EOVERFLOW, "logsumexp: scratch does not fit in memory");
    c->flops *= 20;
    return PA_OK;
}

typedef struct terms {
    const real *x;
    const double *max;
} terms;

/* exp(x - m), 0 for the elements that reach m; 1 for those when `top`, others 0. */
static void under(const void *src, double *buf, size_t at, size_t n, size_t o, size_t os)
{
    const terms *s = src;
    const real *x = s->x + at;
    const double *m = s->max + o;
    for (size_t i = 0; i < n; i++)
        buf[i] = (double)x[i] - m[i * os];
    pa_block_exp(buf, n);
    for (size_t i = 0; i < n; i++)
        buf[i] = (double)x[i] == m[i * os] ? 0 : buf[i];
}

static void ties(const void *src, double *buf, size_t at, size_t n, size_t o, size_t os)
{
    const terms *s = src;
    const real *x = s->x + at;
    const double *m = s->max + o;
    for (size_t i = 0; i < n; i++)
        buf[i] = (double)x[i] == m[i * os] ? 1 : 0;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    pa_fold fold;
    pa_fold_init(&fold, c->in[0], axes(c));
    size_t n = fold.n_out;
    double *max = c->saved, *sum = max + n, *count = c->scratch;
    terms s = {c->in[0]->data, max};
    pa_reduction r = {.fold = &fold,
                      .x = s.x,
                      .max = true,
                      .divisor = 1,
                      .wide = max,
                      .partial = count + n};
    PA_(pa_reduce)(&r, ctx);
    r.max = false;
    r.x = NULL;
    r.src = &s;
    r.fill = under;
    r.wide = sum;
    PA_(pa_reduce)(&r, ctx);
    r.fill = ties;
    r.wide = count;
    PA_(pa_reduce)(&r, ctx);
    real *y = c->out[0]->data;
    for (size_t i = 0; i < n; i++) {
        double rest = sum[i] + (count[i] - 1);
        y[i] = (real)(max[i] - max[i] == 0 ? max[i] + log1p(rest) : max[i]);
        sum[i] = 1 + rest;
    }
}

static void spread(const job *w, size_t at, size_t n, size_t o, size_t step)
{
    double buf[PA_FILL_MAX];
    for (size_t from = 0; from < n; from += PA_FILL_MAX) {
        size_t k = n - from < PA_FILL_MAX ? n - from : PA_FILL_MAX, r = o + from * step;
        const real *x = w->x + at + from, *dy = w->dy + r;
        const double *max = w->wide + r, *sum = w->count + r;
        for (size_t i = 0; i < k; i++)
            buf[i] = (double)x[i] - max[i * step];
        pa_block_exp(buf, k);
        for (size_t i = 0; i < k; i++)
            w->dx[at + from + i] =
                (real)((double)dy[i * step] * (buf[i] / sum[i * step]));
    }
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (!c->din[0])
        return;
    const double *max = c->saved;
    job w = {.spread = spread,
             .dx = c->din[0]->data,
             .x = c->in[0]->data,
             .dy = c->dout[0]->data,
             .wide = max,
             .count = max + c->out[0]->size};
    spread_all(c, &w, PA_CHUNK_MATH, ctx);
}

const pa_op PA_(pa_op_logsumexp) = {
    .name = "logsumexp",
    .formula = "log(sum(exp(x))) over axis",
    .kind = PA_KIND_REDUCE,
    .flags = PA_NEEDS_IN,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = reduce_attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
