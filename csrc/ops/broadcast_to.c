/* broadcast_to - x repeated to `shape` by NumPy's rules
 *
 * Derivative: dx is the sum of dy over the dims along which x was repeated, added up in
 * double. */
#include "base/shape.h"
#include "kern/move.h"
#include "kern/reduce.h"

/* The dims of y along which x is repeated, as bits. */
static unsigned repeated(const pa_tensor *y, const pa_tensor *x)
{
    unsigned set = 0;
    for (int i = 0; i < y->rank; i++) {
        int j = i - (y->rank - x->rank);
        set |= (j < 0 || x->dim[j] != y->dim[i] ? 1u : 0u) << i;
    }
    return set;
}

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *x = c->in[0];
    pa_tensor *y = c->out[0], both = *x;
    pa_status st = pa_want_dtype("broadcast_to", "x", x, PA_REAL, err);
    st = st ? st : pa_tensor_init(y, PA_REAL, c->attr[0].n, c->attr[0].list, err);
    st = st ? st : pa_broadcast("broadcast_to", x, y, &both.rank, both.dim, err);
    if (st)
        return st;
    bool same = both.rank == y->rank;
    for (int i = 0; same && i < y->rank; i++)
        same = both.dim[i] == y->dim[i];
    char a[128], b[128];
    if (!same)
        return pa_fail(err, PA_EVALUE, "broadcast_to: x of shape %s cannot become %s",
                       pa_shape_text(x, a), pa_shape_text(y, b));
    pa_fold fold;
    pa_fold_init(&fold, y, repeated(y, x));
    c->flops = (double)y->size;
    c->saved_bytes = 0;
    if (!pa_mul(fold.partial, sizeof(double), &c->scratch_bytes))
        return pa_fail(err, PA_EOVERFLOW, "broadcast_to: scratch does not fit in memory");
    return PA_OK;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const pa_tensor *x = c->in[0], *y = c->out[0];
    pa_move m = {.rank = y->rank, .to = y->data, .from = x->data};
    ptrdiff_t sx[PA_MAX_RANK];
    pa_strides(x, sx);
    pa_strides(y, m.ts);
    for (int i = 0; i < y->rank; i++) {
        int j = i - (y->rank - x->rank);
        m.dim[i] = (size_t)y->dim[i];
        m.fs[i] = j < 0 || x->dim[j] == 1 ? 0 : sx[j];
    }
    PA_(pa_move_run)(&m, ctx);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (!c->din[0])
        return;
    pa_fold fold;
    pa_fold_init(&fold, c->out[0], repeated(c->out[0], c->in[0]));
    pa_reduction r = {.fold = &fold,
                      .x = c->dout[0]->data,
                      .divisor = 1,
                      .out = c->din[0]->data,
                      .partial = c->scratch};
    PA_(pa_reduce)(&r, ctx);
}

static const pa_attr_desc attrs[] = {
    {"shape", PA_ATTR_LIST, 0, 0, 0, "dims of the result"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_broadcast_to) = {
    .name = "broadcast_to",
    .formula = "x repeated to shape",
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
