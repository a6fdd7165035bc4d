/* transpose - y has x's axes in the order `perm`: y.dim[i] = x.dim[perm[i]]; no perm
 * reverses them
 *
 * Derivative: dx is dy with the axes put back. */
#include <string.h>

#include "base/shape.h"
#include "kern/move.h"

/* The axes as numbers from 0; fails unless each stands there once. */
static pa_status axes(const pa_attr *a, int rank, int perm[PA_MAX_RANK], pa_error *err)
{
    unsigned seen = 0;
    if (a->n != 0 && a->n != rank)
        return pa_fail(err, PA_EVALUE, "transpose: perm: got %d axes, expected %d", a->n,
                       rank);
    for (int i = 0; i < rank; i++) {
        perm[i] = rank - 1 - i;
        pa_status st =
            a->n ? pa_axis("transpose", a->list[i], rank, &perm[i], err) : PA_OK;
        if (st)
            return st;
        if (seen >> perm[i] & 1)
            return pa_fail(err, PA_EVALUE, "transpose: perm: axis %d stands there twice",
                           perm[i]);
        seen |= 1u << perm[i];
    }
    return PA_OK;
}

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *x = c->in[0];
    int perm[PA_MAX_RANK];
    int64_t dim[PA_MAX_RANK];
    pa_status st = pa_want_dtype("transpose", "x", x, PA_REAL, err);
    st = st ? st : axes(&c->attr[0], x->rank, perm, err);
    if (st)
        return st;
    for (int i = 0; i < x->rank; i++)
        dim[i] = x->dim[perm[i]];
    c->flops = (double)x->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return pa_tensor_init(c->out[0], PA_REAL, x->rank, dim, err);
}

/* Walks y's dims: y is C-contiguous, x is stepped through by its permuted strides. */
static pa_move plan(const pa_call *c)
{
    const pa_tensor *x = c->in[0];
    pa_move m = {.rank = x->rank};
    ptrdiff_t sx[PA_MAX_RANK];
    int perm[PA_MAX_RANK];
    axes(&c->attr[0], x->rank, perm, NULL);
    pa_strides(x, sx);
    pa_strides(c->out[0], m.ts);
    for (int i = 0; i < x->rank; i++) {
        m.dim[i] = (size_t)c->out[0]->dim[i];
        m.fs[i] = sx[perm[i]];
    }
    return m;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    pa_move m = plan(c);
    m.to = c->out[0]->data;
    m.from = c->in[0]->data;
    PA_(pa_move_run)(&m, ctx);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    pa_move m = plan(c), back = m;
    if (!c->din[0])
        return;
    memcpy(back.ts, m.fs, sizeof m.fs);
    memcpy(back.fs, m.ts, sizeof m.ts);
    back.to = c->din[0]->data;
    back.from = c->dout[0]->data;
    PA_(pa_move_run)(&back, ctx);
}

static const pa_attr_desc attrs[] = {
    {"perm", PA_ATTR_LIST, 0, -PA_MAX_RANK, PA_MAX_RANK - 1,
     "order of axes; none reverses"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_transpose) = {
    .name = "transpose",
    .formula = "x with its axes in the order perm",
    .kind = PA_KIND_SHAPE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
