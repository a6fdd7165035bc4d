/* softmax - y = exp(x - max x) / sum exp(x - max x) along one axis
 *
 * Derivative: dx = y (dy - sum y dy). It is computed as y (g - sum y g) with g = dy - dy
 * at the largest y, so that the digits of 1 - y of a dominant class are not needed and
 * not missed.
 * Special cases: -inf is a mask and gives 0; a row with NaN or +inf, or of nothing but
 * -inf, gives NaN. A row is read in pieces, so that it may be of any length. */
#include "base/shape.h"
#include "kern/reduce.h"
#include "kern/softmax.h"

typedef struct job {
    pa_soft_rows g;
    const real *x, *y, *dy;
    real *out;
} job;

static pa_status shape(pa_call *c, pa_error *err)
{
    int axis;
    pa_status st = pa_want_dtype(c->op->name, "x", c->in[0], PA_REAL, err);
    st = st ? st
            : pa_axis(c->op->name, (int64_t)c->attr[0].num, c->in[0]->rank, &axis, err);
    st = st ? st : pa_tensor_init(c->out[0], PA_REAL, c->in[0]->rank, c->in[0]->dim, err);
    c->flops = st ? 0 : 25 * (double)c->in[0]->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return st;
}

static job rows_of(const pa_call *c)
{
    int axis = 0;
    pa_axis(c->op->name, (int64_t)c->attr[0].num, c->in[0]->rank, &axis, NULL);
    return (job){.g = pa_soft_rows_of(c->in[0], axis)};
}

/* ---- forward --------------------------------------------------------------------------
 */

/* y: (n,) with the row's stride. */
static void forward_row(pa_soft_row x, real *y)
{
    double e[PA_SOFT_BLOCK], e_lo[PA_SOFT_BLOCK];
    real tmp[PA_SOFT_BLOCK];
    pa_soft s = pa_soft_row_sums(x, e, e_lo, tmp, true);
    for (size_t i = 0; i < x.n; i += PA_SOFT_BLOCK) {
        size_t k = x.n - i < PA_SOFT_BLOCK ? x.n - i : PA_SOFT_BLOCK;
        if (x.n > PA_SOFT_BLOCK) { /* again: cheaper than keeping them all */
            pa_soft again = pa_soft_start(s.max);
            PA_(pa_soft_exps_whole)(e, e_lo, pa_soft_piece(x, i, k, tmp), k, &again);
        }
        if (x.stride == 1) {
            PA_(pa_soft_scale)(y + i, e, e_lo, k, &s);
            continue;
        }
        PA_(pa_soft_scale)(tmp, e, e_lo, k, &s);
        for (size_t j = 0; j < k; j++)
            y[(i + j) * x.stride] = tmp[j];
    }
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const job *w = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->g.rows, w->g.per, chunk, &lo, &hi);
    for (; lo < hi; lo++) {
        size_t at = pa_soft_base(&w->g, lo);
        forward_row((pa_soft_row){w->x + at, w->g.inner, w->g.n}, w->out + at);
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    job w = rows_of(c);
    w.x = c->in[0]->data;
    w.out = c->out[0]->data;
    pa_run(ctx, forward_chunk, &w, pa_chunks(w.g.rows, w.g.per));
}

/* ---- backward -------------------------------------------------------------------------
 */

/* dx, y, dy: (n,), stride apart. */
PA_INLINE void backward_row(real *dx, const real *y, const real *dy, size_t n,
                            size_t stride)
{
    size_t top = 0;
    if (stride == 1) { /* found in vectors, then looked up */
        double most = PA_(pa_soft_max)(y, n, 0);
        while (top + 1 < n && (double)y[top] < most)
            top++;
    } else {
        for (size_t i = 1; i < n; i++)
            top = y[i * stride] > y[top * stride] ? i : top;
    }
    double base = (double)dy[top * stride], sum = 0, t[PA_SOFT_BLOCK];
    for (size_t i = 0; i < n; i += PA_SOFT_BLOCK) {
        size_t k = n - i < PA_SOFT_BLOCK ? n - i : PA_SOFT_BLOCK;
        for (size_t j = 0; j < k; j++) {
            size_t at = (i + j) * stride;
            t[j] = (double)y[at] * ((double)dy[at] - base);
        }
        sum += PA_(pa_reduce_row_wide)(t, k);
    }
    PA_IVDEP
    for (size_t i = 0; i < n; i++) {
        size_t at = i * stride;
        dx[at] = (real)((double)y[at] * (((double)dy[at] - base) - sum));
    }
}

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const job *w = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->g.rows, w->g.per, chunk, &lo, &hi);
    for (; lo < hi; lo++) {
        size_t at = pa_soft_base(&w->g, lo);
        if (w->g.inner == 1)
            backward_row(w->out + at, w->y + at, w->dy + at, w->g.n, 1);
        else
            backward_row(w->out + at, w->y + at, w->dy + at, w->g.n, w->g.inner);
    }
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (!c->din[0])
        return;
    job w = rows_of(c);
    w.y = c->out[0]->data;
    w.dy = c->dout[0]->data;
    w.out = c->din[0]->data;
    pa_run(ctx, backward_chunk, &w, pa_chunks(w.g.rows, w.g.per));
}

static const pa_attr_desc attrs[] = {
    {"axis", PA_ATTR_INT, -1, -PA_MAX_RANK, PA_MAX_RANK - 1, "the axis that sums to 1"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_softmax) = {
    .name = "softmax",
    .formula = "exp(x) / sum(exp(x)) along axis",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_OUT | PA_IN_PLACE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
