/* opt_sgd - stochastic gradient descent, with momentum and Nesterov's variant
 *
 *     momentum 0:  p -= lr g
 *     momentum:    v = momentum v - lr g,   p += v
 *     nesterov:    the same v,              p += momentum v - lr g
 * Slots: v, if momentum > 0. References: Polyak 1964; Sutskever and others 2013. */
#include "kern/optimizer.h"

static void plain(const update *u)
{
    real *restrict p = u->p;
    const real *restrict g = u->g;
    real lr = (real)u->ctx->lr, decay = (real)(u->ctx->lr * u->c->attr[2].num);
    for (size_t i = 0; i < u->n; i++)
        p[i] = (p[i] - p[i] * decay) - lr * g[i];
}

static void momentum(const update *u)
{
    real *restrict p = u->p, *restrict v = u->slot[0];
    const real *restrict g = u->g;
    real lr = (real)u->ctx->lr, decay = (real)(u->ctx->lr * u->c->attr[2].num);
    real m = (real)u->c->attr[0].num;
    for (size_t i = 0; i < u->n; i++) {
        v[i] = m * v[i] - lr * g[i];
        p[i] = (p[i] - p[i] * decay) + v[i];
    }
}

static void nesterov(const update *u)
{
    real *restrict p = u->p, *restrict v = u->slot[0];
    const real *restrict g = u->g;
    real lr = (real)u->ctx->lr, decay = (real)(u->ctx->lr * u->c->attr[2].num);
    real m = (real)u->c->attr[0].num;
    for (size_t i = 0; i < u->n; i++) {
        real step = lr * g[i];
        v[i] = m * v[i] - step;
        p[i] = (p[i] - p[i] * decay) + (m * v[i] - step);
    }
}

static int slots(const pa_attr *attr)
{
    return attr[0].num > 0;
}

static void task(void *arg, ptrdiff_t chunk, int worker)
{
    const update *u = arg;
    const pa_attr *attr = u->c->attr;
    (void)worker;
    optimizer_chunk(u, chunk,
                    !slots(attr)       ? plain
                    : attr[1].num != 0 ? nesterov
                                       : momentum);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    optimizer_run(c, ctx, task);
}

static void grow(const pa_attr *attr, const pa_ctx *ctx, double *most)
{
    const double step = ctx->lr * most[1];
    if (slots(attr))
        most[2] = attr[0].num * most[2] + step;
    most[0] += ctx->lr * attr[2].num * most[0] + (slots(attr) ? most[2] : 0) + step;
}

static const pa_attr_desc attrs[] = {
    {"momentum", PA_ATTR_REAL, 0, 0, 1, "share of the last step that is kept"},
    {"nesterov", PA_ATTR_BOOL, 0, 0, 1, "look ahead along the momentum"},
    WEIGHT_DECAY,
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_opt_sgd) = {
    .name = "opt_sgd",
    .formula = "v = momentum v - lr g; p += v",
    .kind = PA_KIND_OPTIMIZER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 2,
    .max_in = 3,
    .in_names = "param, grad, velocity",
    .attrs = attrs,
    .shape = optimizer_shape,
    .forward = forward,
    .slots = slots,
    .grow = grow,
};
