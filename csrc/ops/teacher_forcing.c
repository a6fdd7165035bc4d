/* teacher_forcing - a row of truth with probability p, else the row of own
 *
 * own: (B, ...), truth: the same; y: the same. p goes from begin to end on a straight
 * line over the first `steps` steps of the optimizer and stays there. Whose a row is, is
 * a function of (seed, this call's key, step, row): backward finds it again.
 *
 * Derivative: d own = dy in the rows that are own's, else 0; truth is data.
 *
 * Source: Williams and Zipser, Neural Computation 1, 1989; the falling p: Bengio et al.,
 * Scheduled sampling, NIPS 2015. */
#include <string.h>

#include "base/rng.h"
#include "base/shape.h"
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *own = c->in[0], *truth = c->in[1];
    char a[128], b[128];
    pa_status st = pa_want_dtype("teacher_forcing", "own", own, PA_REAL, err);
    st = st ? st : pa_want_dtype("teacher_forcing", "truth", truth, PA_REAL, err);
    if (st)
        return st;
    if (own->rank < 1 || own->rank != truth->rank ||
        memcmp(own->dim, truth->dim, (size_t)own->rank * sizeof *own->dim) != 0)
        return pa_fail(err, PA_EVALUE,
                       "teacher_forcing: own has shape %s and truth %s; expected equal "
                       "shapes, batch first",
                       pa_shape_text(own, a), pa_shape_text(truth, b));
    c->flops = (double)own->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return pa_tensor_init(c->out[0], PA_REAL, own->rank, own->dim, err);
}

static double probability(const pa_attr *attr, int64_t step)
{
    const double begin = attr[0].num, end = attr[1].num, steps = attr[2].num;
    const double at = (double)step < steps ? (double)step / steps : 1;
    return begin + (end - begin) * at;
}

/* to: (rows, n) from own, and from truth or zeros (NULL). */
static void choose(const pa_call *c, const pa_ctx *ctx, real *to, const real *own,
                   const real *truth)
{
    const size_t size = c->in[0]->size, rows = (size_t)c->in[0]->dim[0];
    const size_t n = size ? size / rows : 0;
    const double p = probability(c->attr, ctx->step);
    const uint64_t stream = pa_rng_stream(ctx->seed, c->key, (uint64_t)ctx->step);
    for (size_t b = 0; b < rows && n > 0; b++) {
        if (!(pa_rng_uniform(stream, b) < p))
            memcpy(to + b * n, own + b * n, n * sizeof *to);
        else if (truth)
            memcpy(to + b * n, truth + b * n, n * sizeof *to);
        else
            memset(to + b * n, 0, n * sizeof *to);
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    choose(c, ctx, c->out[0]->data, c->in[0]->data, c->in[1]->data);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (c->din[0])
        choose(c, ctx, c->din[0]->data, c->dout[0]->data, NULL);
}

static const pa_attr_desc attrs[] = {
    {"begin", PA_ATTR_REAL, 1, 0, 1, "probability of truth at first"},
    {"end", PA_ATTR_REAL, 1, 0, 1, "probability of truth after `steps`"},
    {"steps", PA_ATTR_INT, 0, 0, 9007199254740992.0, "optimizer steps from begin to end"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_teacher_forcing) = {
    .name = "teacher_forcing",
    .formula = "a row of truth with probability p(step), else the row of own",
    .kind = PA_KIND_LAYER,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .no_din = 1 << 1,
    .in_names = "own, truth",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
