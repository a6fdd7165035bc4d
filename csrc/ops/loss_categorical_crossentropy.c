/* loss_categorical_crossentropy - -sum_k t_k log p_k over the classes k of the last axis
 *
 * from_logits: p = softmax(x). With d = x - max x, rest = sum exp d over all but one of
 * the largest (kern/softmax.h), L = log1p(rest), T = sum t, l = sum t_k (L - d_k),
 * dl/dx_k = T p_k - t_k. For an element that reaches the maximum the slope is (T - t) - T
 * rest / (1 + rest), which keeps all digits of a sure and right prediction. Classes with
 * t = 0 are left out, so that a logit of -inf may mask them. Otherwise q = x / sum x, cut
 * to [1e-7, 1 - 1e-7], as in Keras: l = -sum t_k log q_k, dl/dx_k = (sum_inside t - t_k /
 * q_k [k inside]) / sum x. label_smoothing s: t becomes t (1 - s) + s / K.
 *
 * Saved: the slopes, weighted and divided by the number of rows. */
#include "kern/loss_entropy.h"
#include "kern/softmax.h"

typedef struct smoothing {
    double keep, add; /* t' = keep t + add */
} smoothing;

static smoothing smoothing_of(const loss *s)
{
    double share = s->c->attr[1].num;
    return (smoothing){1 - share, share / (double)s->width};
}

/* ---- logits ---------------------------------------------------------------------------
 */

typedef struct totals {
    double loss, under, top; /* loss, sum of t' under the maximum and at it */
} totals;

/* x, t: (n,), a piece of a row. */
static void add_piece(totals *a, const real *x, const real *t, size_t n, const pa_soft *s,
                      double log_sum, smoothing sm)
{
    double l[PA_SOFT_BLOCK], under[PA_SOFT_BLOCK];
    for (size_t i = 0; i < n; i++) {
        double y = sm.keep * (double)t[i] + sm.add, d = (double)x[i] - s->max;
        l[i] = y == 0 && d <= 0 ? 0 : y * (log_sum - d);
        under[i] = d == 0 ? 0 : y;
        a->top += d == 0 ? y : 0;
    }
    a->loss += PA_(pa_reduce_row_wide)(l, n);
    a->under += PA_(pa_reduce_row_wide)(under, n);
}

/* g, x, t, e: (n,), a piece of a row. */
static void slopes(real *g, const real *x, const real *t, const double *e, size_t n,
                   const pa_soft *s, const totals *a, smoothing sm, double scale)
{
    double sum = a->under + a->top, p = sum / s->sum, q = s->rest * p;
    for (size_t i = 0; i < n; i++) {
        double y = sm.keep * (double)t[i] + sm.add;
        double top = (a->under + (a->top - y)) - q;
        g[i] = (real)(scale * ((double)x[i] == s->max ? top : e[i] * p - y));
    }
}

static double logits_row(const real *x, const real *t, real *g, size_t n, smoothing sm,
                         double scale)
{
    double e[PA_SOFT_BLOCK], e_lo[PA_SOFT_BLOCK];
    pa_soft s = pa_soft_row_sums((pa_soft_row){x, 1, n}, e, e_lo, NULL, false);
    double log_lo, log_sum = PA_(pa_soft_log)(&s, &log_lo);
    totals a = {0, 0, 0};
    for (size_t i = 0; i < n; i += PA_SOFT_BLOCK) {
        size_t k = n - i < PA_SOFT_BLOCK ? n - i : PA_SOFT_BLOCK;
        add_piece(&a, x + i, t + i, k, &s, log_sum, sm);
    }
    for (size_t i = 0; i < n; i += PA_SOFT_BLOCK) {
        size_t k = n - i < PA_SOFT_BLOCK ? n - i : PA_SOFT_BLOCK;
        if (n > PA_SOFT_BLOCK) {
            pa_soft again = pa_soft_start(s.max);
            PA_(pa_soft_exps)(e, e_lo, x + i, k, &again);
        }
        slopes(g + i, x + i, t + i, e, k, &s, &a, sm, scale);
    }
    return a.loss;
}

static void logits(const loss *s, double *l, size_t at, size_t n, double scale)
{
    smoothing sm = smoothing_of(s);
    for (size_t r = 0; r < n; r++) {
        size_t from = (at + r) * s->width;
        l[r] = logits_row(s->p + from, (const real *)s->t + from, s->g + from, s->width,
                          sm, scale);
    }
}

/* ---- probabilities --------------------------------------------------------------------
 */

static void probabilities(const loss *s, double *l, size_t at, size_t n, double scale)
{
    const double low = 1e-7, high = 1 - 1e-7;
    smoothing sm = smoothing_of(s);
    for (size_t r = 0; r < n; r++) {
        size_t from = (at + r) * s->width;
        const real *x = s->p + from, *t = (const real *)s->t + from;
        real *g = s->g + from;
        double sum = PA_(pa_reduce_row)(x, s->width), inside = 0;
        l[r] = 0;
        for (size_t k = 0; k < s->width; k++) {
            double y = sm.keep * (double)t[k] + sm.add, v = (double)x[k] / sum;
            double q = v < low ? low : v > high ? high : v;
            l[r] -= y == 0 && v == v ? 0 : y * log(q);
            inside += v < low || v > high ? 0 : y;
        }
        for (size_t k = 0; k < s->width; k++) {
            double y = sm.keep * (double)t[k] + sm.add, v = (double)x[k] / sum;
            double own = v < low || v > high || y == 0 ? 0 : y / v;
            g[k] = (real)(scale * ((inside - own) / sum));
        }
    }
}

/* ---- the operator ---------------------------------------------------------------------
 */

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    entropy_forward(c, ctx, true);
}

static pa_status shape(pa_call *c, pa_error *err)
{
    return loss_shape(c, true, false, true, err);
}

static const pa_attr_desc attrs[] = {
    {"from_logits", PA_ATTR_BOOL, 0, 0, 1, "pred is the value before the softmax"},
    {"label_smoothing", PA_ATTR_REAL, 0, 0, 1,
     "share of every target spread over all classes"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_loss_categorical_crossentropy) = {
    .name = "loss_categorical_crossentropy",
    .formula = "mean(-w sum(t log p))",
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
