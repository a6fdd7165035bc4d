/* loss_error.h - losses of the error e = pred - target, element by element.
 *
 * An operator's file defines, before it includes this one,
 *     static double value(double e, double delta)    the loss
 *     static double slope(double e, double delta)    its derivative in e
 * delta is attribute 0, or 1 where there is none; the file gets shape, forward, backward.
 */
#include "kern/loss.h"

static double delta_of(const pa_call *c)
{
    return c->op->attrs ? c->attr[0].num : 1;
}

static void values(const loss *s, double *l, size_t at, size_t n, double scale)
{
    const real *p = s->p + at, *t = (const real *)s->t + at;
    double delta = delta_of(s->c);
    (void)scale;
    for (size_t i = 0; i < n; i++)
        l[i] = value((double)p[i] - (double)t[i], delta);
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    (void)worker;
    loss_samples(arg, chunk, values);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    loss s = loss_of(c, false);
    loss_total(&s, forward_chunk, ctx);
}

static void slopes(const loss *s, size_t at, size_t n, double scale)
{
    const real *p = s->p + at, *t = (const real *)s->t + at;
    double delta = delta_of(s->c);
    real *g = s->g + at;
    PA_IVDEP
    for (size_t i = 0; i < n; i++)
        g[i] = (real)(scale * slope((double)p[i] - (double)t[i], delta));
}

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const loss *s = arg;
    double scale = s->dy / ((double)s->rows * (double)s->batch);
    size_t lo, hi;
    (void)worker;
    pa_chunk(s->batch, s->per, chunk, &lo, &hi);
    if (!s->w)
        slopes(s, lo * s->rows, (hi - lo) * s->rows, scale);
    else
        for (; lo < hi; lo++)
            slopes(s, lo * s->rows, s->rows, scale * (double)s->w[lo]);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (!c->din[0])
        return;
    loss s = loss_of(c, false);
    s.g = c->din[0]->data;
    s.dy = (double)*(const real *)c->dout[0]->data;
    pa_run(ctx, backward_chunk, &s, pa_chunks(s.batch, s.per));
}

static pa_status shape(pa_call *c, pa_error *err)
{
    return loss_shape(c, false, false, false, err);
}
