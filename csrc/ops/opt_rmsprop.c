/* opt_rmsprop - steps scaled by a running mean of squared gradients
 *
 *     v = rho v + (1 - rho) g^2
 *     centered:  a = rho a + (1 - rho) g,  d = v - a^2 + epsilon;   else d = v + epsilon
 *     step = lr g / sqrt(d)
 *     momentum:  m = momentum m + step,  p -= m;   else p -= step
 * Slots: v; m if momentum > 0; a if centered. Reference: Hinton, lecture 6e, 2012; the
 * centered form is Graves's, arXiv 1308.0850. */
#include "kern/optimizer.h"

#include <math.h>

PA_INLINE void rmsprop(const update *u, bool with_momentum, bool centered)
{
    const pa_attr *attr = u->c->attr;
    real *restrict p = u->p, *restrict v = u->slot[0];
    real *restrict m = u->slot[1], *restrict a = u->slot[with_momentum ? 2 : 1];
    const real *restrict g = u->g;
    real lr = (real)u->ctx->lr, decay = (real)(u->ctx->lr * attr[4].num);
    real rho = (real)attr[0].num, fresh = (real)(1 - attr[0].num);
    real momentum = (real)attr[1].num, epsilon = (real)attr[2].num;
    for (size_t i = 0; i < u->n; i++) {
        v[i] = rho * v[i] + fresh * (g[i] * g[i]);
        real d = v[i] + epsilon;
        if (centered) {
            a[i] = rho * a[i] + fresh * g[i];
            d = (v[i] - a[i] * a[i]) + epsilon;
        }
        real step = lr * g[i] / PA_SQRT(d);
        if (with_momentum)
            step = m[i] = momentum * m[i] + step;
        p[i] = (p[i] - p[i] * decay) - step;
    }
}

static void simple(const update *u)
{
    rmsprop(u, false, false);
}

static void with_momentum(const update *u)
{
    rmsprop(u, true, false);
}

static void centered(const update *u)
{
    rmsprop(u, false, true);
}

static void with_both(const update *u)
{
    rmsprop(u, true, true);
}

static void task(void *arg, ptrdiff_t chunk, int worker)
{
    const update *u = arg;
    const pa_attr *attr = u->c->attr;
    (void)worker;
    if (attr[3].num != 0)
        optimizer_chunk(u, chunk, attr[1].num > 0 ? with_both : centered);
    else
        optimizer_chunk(u, chunk, attr[1].num > 0 ? with_momentum : simple);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    optimizer_run(c, ctx, task);
}

static int slots(const pa_attr *attr)
{
    return 1 + (attr[1].num > 0) + (attr[3].num != 0);
}

static void grow(const pa_attr *attr, const pa_ctx *ctx, double *most)
{
    const bool with_momentum = attr[1].num > 0;
    double step = ctx->lr * most[1] / sqrt(optimizer_least(attr[2].num));
    most[2] = larger(most[2], most[1] * most[1]);
    if (with_momentum)
        step = most[3] = attr[1].num * most[3] + step;
    most[0] += ctx->lr * attr[4].num * most[0] + step;
    if (attr[3].num != 0) { /* v - a^2, rounded, may be below zero */
        most[with_momentum ? 4 : 3] = larger(most[with_momentum ? 4 : 3], most[1]);
        most[0] = INFINITY;
    }
}

static const pa_attr_desc attrs[] = {
    {"rho", PA_ATTR_REAL, 0.9, 0, 1, "share of the running means that is kept"},
    {"momentum", PA_ATTR_REAL, 0, 0, 1, "share of the last step that is kept"},
    {"epsilon", PA_ATTR_REAL, 1e-7, 0, 1e300, "keeps the quotient finite"},
    {"centered", PA_ATTR_BOOL, 0, 0, 1, "subtract the squared running mean"},
    WEIGHT_DECAY,
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_opt_rmsprop) = {
    .name = "opt_rmsprop",
    .formula = "v = rho v + (1 - rho) g^2; p -= lr g / sqrt(v + epsilon)",
    .kind = PA_KIND_OPTIMIZER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 3,
    .max_in = 5,
    .in_names = "param, grad, velocity, momentum, average",
    .attrs = attrs,
    .shape = optimizer_shape,
    .forward = forward,
    .slots = slots,
    .grow = grow,
    .positive = 1 << 2,
};
