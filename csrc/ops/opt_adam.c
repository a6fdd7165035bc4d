/* opt_adam - moments of the gradient, corrected for their start at 0
 *
 *     m = b1 m + (1 - b1) g
 *     v = b2 v + (1 - b2) g^2
 *     p = p - r' m / (sqrt(v) + eps),   r' = r sqrt(1 - b2^t) / (1 - b1^t)
 *
 * t counts steps from 1. amsgrad: the largest v so far stands under the root. With
 * weight_decay this is AdamW.
 *
 * Source: Kingma and Ba, ICLR 2015 (the form at the end of section 2, as in Keras);
 * amsgrad: Reddi, Kale and Kumar, ICLR 2018. Slots: m, v, then the largest v. */
#include "kern/optimizer.h"

enum { BETA_1 = 1, BETA_2 = 2, EPSILON = 3, AMSGRAD = 4 };

static int slots(const pa_attr *a)
{
    return 2 + (a[AMSGRAD].num != 0);
}

static void prepare(step *s, const pa_ctx *ctx)
{
    double b1 = s->attr[BETA_1].num, b2 = s->attr[BETA_2].num, t = (double)ctx->step + 1;
    s->k[0] = (real)(ctx->lr * sqrt(1 - pow(b2, t)) / (1 - pow(b1, t)));
    s->k[1] = (real)(1 - b1);
    s->k[2] = (real)(1 - b2);
    s->k[3] = (real)s->attr[EPSILON].num;
}

/* m + (g - m)(1 - b1) is b1 m + (1 - b1) g with a rounding less, as in Keras. */
static void update(const step *s, size_t lo, size_t hi)
{
    real *p = s->p, *m = s->slot[0], *v = s->slot[1], *most = s->slot[2];
    const real *g = s->g;
    real r = s->k[0], c1 = s->k[1], c2 = s->k[2], eps = s->k[3], keep = s->keep;
    if (!most) {
        PA_IVDEP
        for (size_t i = lo; i < hi; i++) {
            real mi = m[i] + (g[i] - m[i]) * c1;
            real vi = v[i] + (g[i] * g[i] - v[i]) * c2;
            m[i] = mi;
            v[i] = vi;
            p[i] = p[i] * keep - r * mi / (PA_SQRT(vi) + eps);
        }
        return;
    }
    PA_IVDEP
    for (size_t i = lo; i < hi; i++) {
        m[i] = m[i] + (g[i] - m[i]) * c1;
        v[i] = v[i] + (g[i] * g[i] - v[i]) * c2;
        most[i] = most[i] > v[i] ? most[i] : v[i];
        p[i] = p[i] * keep - r * m[i] / (PA_SQRT(most[i]) + eps);
    }
}

static const pa_attr_desc attrs[] = {
    WEIGHT_DECAY_ATTR,
    {"beta_1", PA_ATTR_REAL, 0.9, 0, 1, "how much of the mean is kept"},
    {"beta_2", PA_ATTR_REAL, 0.999, 0, 1, "how much of the mean square is kept"},
    {"epsilon", PA_ATTR_REAL, 1e-7, 0, HUGE_VAL, "keeps the root away from 0"},
    {"amsgrad", PA_ATTR_BOOL, 0, 0, 1, "use the largest mean square so far"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_opt_adam) = {
    .name = "opt_adam",
    .formula =
        "m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p = p - r' m / (sqrt v + eps)",
    .kind = PA_KIND_OPTIMIZER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 4,
    .max_in = 5,
    .in_names = "param, grad, mean, mean square, largest mean square",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .slots = slots,
};
