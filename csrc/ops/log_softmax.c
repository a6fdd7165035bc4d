/* log_softmax - y = x - max x - log(sum exp(x - max x)) along one axis
 *
 * Derivative: dx = dy - p sum dy, p = softmax x. p comes from x and from what forward
 * saved rather than from exp(y), which would lose |y| units; for a single largest element
 * 1 - p = rest / (1 + rest) is used as it is (kern/softmax.h).
 * Special cases: -inf is a mask and gives -inf; a row with NaN or +inf, or of nothing but
 * -inf, gives NaN.
 *
 * Saved: for each row max, rest (see kern/softmax.h). */
#include "base/shape.h"
#include "kern/reduce.h"
#include "kern/softmax.h"

typedef struct job {
    pa_soft_rows g;
    const real *x, *dy;
    real *out;
    double *saved; /* (rows, 2) */
} job;

static pa_status shape(pa_call *c, pa_error *err)
{
    int axis;
    const pa_tensor *x = c->in[0];
    pa_status st = pa_want_dtype(c->op->name, "x", x, PA_REAL, err);
    st = st ? st : pa_axis(c->op->name, (int64_t)c->attr[0].num, x->rank, &axis, err);
    st = st ? st : pa_tensor_init(c->out[0], PA_REAL, x->rank, x->dim, err);
    if (st)
        return st;
    pa_soft_rows g = pa_soft_rows_of(x, axis);
    c->flops = 25 * (double)x->size;
    c->scratch_bytes = 0;
    if (!pa_mul(g.rows, 2 * sizeof(double), &c->saved_bytes))
        return pa_fail(err, PA_EOVERFLOW,
                       "log_softmax: x is too big: its %zu rows do not fit", g.rows);
    return PA_OK;
}

static job rows_of(const pa_call *c)
{
    int axis = 0;
    pa_axis(c->op->name, (int64_t)c->attr[0].num, c->in[0]->rank, &axis, NULL);
    return (job){
        .g = pa_soft_rows_of(c->in[0], axis), .x = c->in[0]->data, .saved = c->saved};
}

/* ---- forward --------------------------------------------------------------------------
 */

/* y = (x - max) - (log_sum + log_lo), for y, x: (n,), stride apart. In float64, x - max
 * is rounded; what it loses joins the smaller part. */
PA_INLINE void subtract(real *y, const real *x, size_t n, size_t stride, double max,
                        double log_sum, double log_lo)
{
    PA_IVDEP
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i * stride], d = v - max;
#ifdef PA_REAL_IS_DOUBLE
        double z = d - v, lo = (v - (d - z)) - (max + z);
        y[i * stride] = d < -1e300 ? d - log_sum : d - (log_sum + (log_lo - lo));
#else
        y[i * stride] = (real)(d - (log_sum + log_lo));
#endif
    }
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const job *w = arg;
    double e[PA_SOFT_BLOCK], e_lo[PA_SOFT_BLOCK];
    real tmp[PA_SOFT_BLOCK];
    size_t lo, hi, n = w->g.n, stride = w->g.inner;
    (void)worker;
    pa_chunk(w->g.rows, w->g.per, chunk, &lo, &hi);
    for (; lo < hi; lo++) {
        size_t at = pa_soft_base(&w->g, lo);
        pa_soft s =
            pa_soft_row_sums((pa_soft_row){w->x + at, stride, n}, e, e_lo, tmp, false);
        w->saved[2 * lo] = s.max;
        w->saved[2 * lo + 1] = s.rest;
        double log_lo, log_sum = PA_(pa_soft_log)(&s, &log_lo);
        if (stride == 1)
            subtract(w->out + at, w->x + at, n, 1, s.max, log_sum, log_lo);
        else
            subtract(w->out + at, w->x + at, n, stride, s.max, log_sum, log_lo);
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    job w = rows_of(c);
    w.out = c->out[0]->data;
    pa_run(ctx, forward_chunk, &w, pa_chunks(w.g.rows, w.g.per));
}

/* ---- backward -------------------------------------------------------------------------
 */

/* The sums of dy over the elements under the maximum and over those that reach it. */
static void sums(pa_soft_row x, const real *dy, double max, double *under, double *top)
{
    double t[PA_SOFT_BLOCK];
    *under = *top = 0;
    for (size_t i = 0; i < x.n; i += PA_SOFT_BLOCK) {
        size_t k = x.n - i < PA_SOFT_BLOCK ? x.n - i : PA_SOFT_BLOCK;
        for (size_t j = 0; j < k; j++) {
            size_t at = (i + j) * x.stride;
            bool is_top = (double)x.x[at] == max;
            t[j] = is_top ? 0 : (double)dy[at];
            *top += is_top ? (double)dy[at] : 0;
        }
        *under += PA_(pa_reduce_row_wide)(t, k);
    }
}

/* dx: (n,) with the row's stride; may be dy. */
static void backward_row(real *dx, pa_soft_row x, const real *dy, double max, double rest)
{
    double e[PA_SOFT_BLOCK], e_lo[PA_SOFT_BLOCK], under, top;
    double p_top = 1 / (1 + rest), q_top = rest / (1 + rest);
    real tmp[PA_SOFT_BLOCK];
    sums(x, dy, max, &under, &top);
    for (size_t i = 0; i < x.n; i += PA_SOFT_BLOCK) {
        size_t k = x.n - i < PA_SOFT_BLOCK ? x.n - i : PA_SOFT_BLOCK;
        pa_soft s = pa_soft_start(max);
        PA_(pa_soft_exps)(e, e_lo, pa_soft_piece(x, i, k, tmp), k, &s);
        for (size_t j = 0; j < k; j++) {
            size_t at = (i + j) * x.stride;
            double d = (double)dy[at];
            dx[at] =
                (real)((double)x.x[at] == max ? q_top * d - p_top * (under + (top - d))
                                              : d - e[j] * p_top * (under + top));
        }
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
        backward_row(w->out + at, (pa_soft_row){w->x + at, w->g.inner, w->g.n},
                     w->dy + at, w->saved[2 * lo], w->saved[2 * lo + 1]);
    }
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (!c->din[0])
        return;
    job w = rows_of(c);
    w.dy = c->dout[0]->data;
    w.out = c->din[0]->data;
    pa_run(ctx, backward_chunk, &w, pa_chunks(w.g.rows, w.g.per));
}

static const pa_attr_desc attrs[] = {
    {"axis", PA_ATTR_INT, -1, -PA_MAX_RANK, PA_MAX_RANK - 1, "the axis of the classes"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_log_softmax) = {
    .name = "log_softmax",
    .formula = "x - log(sum(exp(x))) along axis",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN | PA_IN_PLACE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
