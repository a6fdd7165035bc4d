/* sum - y = sum of x over `axis` (all axes when none is named), added up in double
 *
 * Derivative: dx = dy, repeated. The sum of nothing is 0. */
#include "kern/reduce_op.h"

static double divisor(const pa_fold *fold)
{
    (void)fold;
    return 1;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    pa_fold fold;
    pa_fold_init(&fold, c->in[0], axes(c));
    pa_reduction r = {.fold = &fold,
                      .x = c->in[0]->data,
                      .divisor = divisor(&fold),
                      .out = c->out[0]->data,
                      .partial = c->scratch};
    PA_(pa_reduce)(&r, ctx);
}

/* dx: (n,) from the results o, o + step, ... step is 0 or 1. */
static void spread(const job *w, size_t at, size_t n, size_t o, size_t step)
{
    real *dx = w->dx + at;
    const real *dy = w->dy + o;
    double d = w->divisor;
    if (step)
        for (size_t i = 0; i < n; i++)
            dx[i] = (real)((double)dy[i] / d);
    else
        for (size_t i = 0; i < n; i++)
            dx[i] = (real)((double)dy[0] / d);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    pa_fold fold;
    if (!c->din[0])
        return;
    pa_fold_init(&fold, c->in[0], axes(c));
    job w = {.spread = spread,
             .dx = c->din[0]->data,
             .dy = c->dout[0]->data,
             .divisor = divisor(&fold)};
    spread_all(c, &w, PA_CHUNK_CHEAP, ctx);
}

const pa_op PA_(pa_op_sum) = {
    .name = "sum",
    .formula = "sum of x over axis",
    .kind = PA_KIND_REDUCE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = reduce_attrs,
    .shape = reduce_shape,
    .forward = forward,
    .backward = backward,
};
