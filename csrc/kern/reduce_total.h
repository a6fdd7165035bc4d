/* reduce_total.h - sum and mean: the double total of what is folded, over divisor(fold),
 * which the file that includes this defines. */
#include "kern/reduce_op.h"

static double divisor(const pa_fold *fold);

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
