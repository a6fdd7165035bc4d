/* loss_sparse_categorical_crossentropy - -log p[t] for a class number t a row
 *
 * from_logits: p = softmax(x) over the last axis. With d = x - max x and rest, L as in
 * loss_categorical_crossentropy, l = L - d_t, dl/dx_k = p_k - [k = t]; where x_t is the
 * maximum its slope is -rest / (1 + rest), which keeps all digits.
 * Otherwise q = x / sum x, cut to [1e-7, 1 - 1e-7], as in Keras: l = -log q_t,
 * dl/dx_k = (1 - [k = t] / q_t) / sum x, 0 where q_t is outside.
 *
 * Labels are checked where they enter; one out of range nevertheless gives NaN, not a
 * stray read.
 *
 * Saved: the slopes, weighted and divided by the number of rows. */
#include "kern/loss_entropy.h"
#include "kern/softmax.h"

/* ---- logits ---------------------------------------------------------------------------
 */

static double logits_row(const real *x, size_t t, real *g, size_t n, double scale)
{
    double e[PA_SOFT_BLOCK], e_lo[PA_SOFT_BLOCK];
    pa_soft s = pa_soft_row_sums((pa_soft_row){x, 1, n}, e, e_lo, NULL, false);
    double log_lo, log_sum = PA_(pa_soft_log)(&s, &log_lo), p = scale / s.sum;
    for (size_t i = 0; i < n; i += PA_SOFT_BLOCK) {
        size_t k = n - i < PA_SOFT_BLOCK ? n - i : PA_SOFT_BLOCK;
        if (n > PA_SOFT_BLOCK) {
            pa_soft again = pa_soft_start(s.max);
            PA_(pa_soft_exps)(e, e_lo, x + i, k, &again);
        }
        for (size_t j = 0; j < k; j++)
            g[i + j] = (real)(e[j] * p);
        if (t - i < k) {
            double right = (double)x[t] == s.max ? -s.rest : e[t - i] - s.sum;
            g[t] = (real)(right * p);
        }
    }
    return log_sum - ((double)x[t] - s.max);
}

/* ---- probabilities --------------------------------------------------------------------
 */

static double probabilities_row(const real *x, size_t t, real *g, size_t n, double scale)
{
    const double low = 1e-7, high = 1 - 1e-7;
    double sum = PA_(pa_reduce_row)(x, n), v = (double)x[t] / sum;
    double q = v < low ? low : v > high ? high : v;
    double inside = v < low || v > high ? 0 : 1;
    for (size_t k = 0; k < n; k++)
        g[k] = (real)(scale * inside / sum);
    g[t] = (real)(scale * inside * (1 - 1 / v) / sum);
    if (inside == 0)
        g[t] = 0; /* 0 times 1/0 */
    return -log(q);
}

/* ---- the operator ---------------------------------------------------------------------
 */

PA_INLINE void rows(const loss *s, double *l, size_t at, size_t n, double scale,
                    bool from_logits)
{
    for (size_t r = 0; r < n; r++) {
        size_t width = s->width, from = (at + r) * width;
        int32_t t = ((const int32_t *)s->t)[at + r];
        const real *x = s->p + from;
        real *g = s->g + from;
        if (t < 0 || (size_t)t >= width) {
            l[r] = NAN;
            for (size_t k = 0; k < width; k++)
                g[k] = (real)NAN;
        } else if (from_logits) {
            l[r] = logits_row(x, (size_t)t, g, width, scale);
        } else {
            l[r] = probabilities_row(x, (size_t)t, g, width, scale);
        }
    }
}

static void logits(const loss *s, double *l, size_t at, size_t n, double scale)
{
    rows(s, l, at, n, scale, true);
}

static void probabilities(const loss *s, double *l, size_t at, size_t n, double scale)
{
    rows(s, l, at, n, scale, false);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    entropy_forward(c, ctx, true);
}

static pa_status shape(pa_call *c, pa_error *err)
{
    return loss_shape(c, true, true, true, err);
}

static const pa_attr_desc attrs[] = {
    {"from_logits", PA_ATTR_BOOL, 0, 0, 1, "pred is the value before the softmax"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_loss_sparse_categorical_crossentropy) = {
    .name = "loss_sparse_categorical_crossentropy",
    .formula = "mean(-w log p[t])",
    .kind = PA_KIND_LOSS,
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .no_din = 6,
    .in_names = "pred, target, sample_weight",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = loss_backward_saved,
};
