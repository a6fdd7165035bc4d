/* loss_binary_crossentropy - -t log p - (1 - t) log(1 - p), element by element
 *
 * from_logits: p = sigmoid(x). With e = exp(-|x|), softplus(x) = max(x, 0) + log1p(e),
 *     l = (1 - t) softplus(x) + t softplus(-x),
 *     dl/dx = (1 - t) sigmoid(x) - t sigmoid(-x)        (p - t without its cancellation),
 * exact and finite at any finite logit. A term whose factor is 0 is left out, so that
 * infinite logits on the right side cost nothing.
 * Otherwise p is first cut to [1e-7, 1 - 1e-7], as in Keras; dl/dp = (p - t) / (p (1 -
 * p)) inside and 0 outside. label_smoothing s: t becomes t (1 - s) + s / 2.
 *
 * Saved: the slopes, weighted and divided by their number. */
#include "kern/block.h"
#include "kern/loss_entropy.h"

static void logits(const loss *s, double *l, size_t at, size_t n, double scale)
{
    const real *x = s->p + at, *t = (const real *)s->t + at;
    double smooth = s->c->attr[1].num, e[LOSS_BLOCK];
    real *g = s->g + at;
    for (size_t i = 0; i < n; i++)
        l[i] = e[i] = -fabs((double)x[i]);
    pa_block_exp(e, n);
    for (size_t i = 0; i < n; i++)
        l[i] = e[i];
    pa_block_log1p(l, n);
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i], y = (double)t[i] * (1 - smooth) + 0.5 * smooth;
        double big = 1 / (1 + e[i]), small = e[i] / (1 + e[i]);
        double up = (v > 0 ? v : 0) + l[i], down = (v < 0 ? -v : 0) + l[i];
        double sig = v >= 0 ? big : small, gis = v >= 0 ? small : big;
        l[i] = (y == 1 && v == v ? 0 : (1 - y) * up) + (y == 0 && v == v ? 0 : y * down);
        g[i] = (real)(scale * ((1 - y) * sig - y * gis));
    }
}

static void probabilities(const loss *s, double *l, size_t at, size_t n, double scale)
{
    const real *p = s->p + at, *t = (const real *)s->t + at;
    const double low = 1e-7, high = 1 - 1e-7;
    double smooth = s->c->attr[1].num;
    real *g = s->g + at;
    for (size_t i = 0; i < n; i++) {
        double v = (double)p[i], y = (double)t[i] * (1 - smooth) + 0.5 * smooth;
        double q = v < low ? low : v > high ? high : v;
        l[i] = -y * log(q) - (1 - y) * log1p(-q);
        double slope = v < low || v > high ? 0 : (q - y) / (q * (1 - q));
        g[i] = (real)(scale * slope);
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    entropy_forward(c, ctx, false);
}

static pa_status shape(pa_call *c, pa_error *err)
{
    return loss_shape(c, false, false, true, err);
}

static const pa_attr_desc attrs[] = {
    {"from_logits", PA_ATTR_BOOL, 0, 0, 1, "pred is the value before the sigmoid"},
    {"label_smoothing", PA_ATTR_REAL, 0, 0, 1, "share of every target replaced by 1/2"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_loss_binary_crossentropy) = {
    .name = "loss_binary_crossentropy",
    .formula = "mean(w (-t log p - (1 - t) log(1 - p)))",
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
