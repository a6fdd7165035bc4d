/* opt_rmsprop - the gradient over the root of its mean square
 *
 *     a = rho a + (1 - rho) g^2
 *     centered:    c = rho c + (1 - rho) g,   d = a - c^2 + eps;   else d = a + eps
 *     momentum 0:  p = p - r g / sqrt(d)
 *     else:        v = m v + r g / sqrt(d),   p = p - v
 *
 * a - c^2 is a variance and not below 0 but for rounding, which eps has to cover.
 *
 * Source: Tieleman and Hinton, Coursera lecture 6.5, 2012; centered: Graves,
 * arXiv:1308.0850; in Keras's form, with eps under the root. Slots: a, then v when there
 * is momentum, then c when centered. */
#include "kern/optimizer.h"

enum { RHO = 1, MOMENTUM = 2, EPSILON = 3, CENTERED = 4 };

static int slots(const pa_attr *a)
{
    return 1 + (a[MOMENTUM].num != 0) + (a[CENTERED].num != 0);
}

static void prepare(step *s, const pa_ctx *ctx)
{
    s->k[0] = (real)ctx->lr;
    s->k[1] = (real)s->attr[RHO].num;
    s->k[2] = (real)(1 - s->attr[RHO].num);
    s->k[3] = (real)s->attr[MOMENTUM].num;
    s->k[4] = (real)s->attr[EPSILON].num;
}

static void update(const step *s, size_t lo, size_t hi)
{
    bool momentum = s->attr[MOMENTUM].num != 0, centered = s->attr[CENTERED].num != 0;
    real *p = s->p, *a = s->slot[0], *v = momentum ? s->slot[1] : NULL;
    real *c = centered ? s->slot[1 + momentum] : NULL;
    const real *g = s->g;
    real r = s->k[0], rho = s->k[1], rest = s->k[2], m = s->k[3], eps = s->k[4];
    real keep = s->keep;
    if (!momentum && !centered) {
        PA_IVDEP
        for (size_t i = lo; i < hi; i++) {
            a[i] = rho * a[i] + rest * (g[i] * g[i]);
            p[i] = p[i] * keep - r * g[i] / PA_SQRT(a[i] + eps);
        }
        return;
    }
    PA_IVDEP
    for (size_t i = lo; i < hi; i++) {
        real d = eps;
        a[i] = rho * a[i] + rest * (g[i] * g[i]);
        if (centered) {
            c[i] = rho * c[i] + rest * g[i];
            d = d - c[i] * c[i];
        }
        real step = r * g[i] / PA_SQRT(a[i] + d);
        if (momentum)
            step = v[i] = m * v[i] + step;
        p[i] = p[i] * keep - step;
    }
}

static const pa_attr_desc attrs[] = {
    WEIGHT_DECAY_ATTR,
    {"rho", PA_ATTR_REAL, 0.9, 0, 1, "how much of the mean square is kept"},
    {"momentum", PA_ATTR_REAL, 0, 0, 1, "share of the last step that goes on"},
    {"epsilon", PA_ATTR_REAL, 1e-7, 0, HUGE_VAL, "keeps the root away from 0"},
    {"centered", PA_ATTR_BOOL, 0, 0, 1, "take the squared mean off the mean square"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_opt_rmsprop) = {
    .name = "opt_rmsprop",
    .formula = "a = rho a + (1 - rho) g^2, p = p - r g / sqrt(a + eps)",
    .kind = PA_KIND_OPTIMIZER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 3,
    .max_in = 5,
    .in_names = "param, grad, mean square, velocity, mean",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .slots = slots,
};
