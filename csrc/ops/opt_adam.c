/* opt_adam - running means of the gradient and its square; AdamW with weight_decay > 0
 *
 *     m += (1 - beta_1) (g - m),   v += (1 - beta_2) (g^2 - v)
 *     amsgrad:  h = max(h, v) takes v's place below
 *     p -= alpha m / (sqrt(v) + epsilon),   alpha = lr sqrt(1 - beta_2^t) / (1 -
 * beta_1^t) Slots: m, v; h if amsgrad. References: Kingma and Ba, arXiv 1412.6980; Reddi
 * and others, ICLR 2018; Loshchilov and Hutter, arXiv 1711.05101. */
#include "kern/optimizer.h"

#include <math.h>

PA_INLINE void adam(const update *u, bool amsgrad)
{
    const pa_attr *attr = u->c->attr;
    real *restrict p = u->p, *restrict m = u->slot[0], *restrict v = u->slot[1];
    real *restrict h = u->slot[2];
    const real *restrict g = u->g;
    double t = (double)u->ctx->step + 1, b_1 = attr[0].num, b_2 = attr[1].num;
    double bias = sqrt(1 - pow(b_2, t)) / (1 - pow(b_1, t));
    real alpha = (real)(u->ctx->lr * bias), decay = (real)(u->ctx->lr * attr[4].num);
    real fresh_1 = (real)(1 - b_1), fresh_2 = (real)(1 - b_2),
         epsilon = (real)attr[2].num;
    for (size_t i = 0; i < u->n; i++) {
        m[i] += (g[i] - m[i]) * fresh_1;
        v[i] += (g[i] * g[i] - v[i]) * fresh_2;
        real top = v[i];
        if (amsgrad)
            top = h[i] = h[i] > v[i] ? h[i] : v[i];
        p[i] = (p[i] - p[i] * decay) - m[i] * alpha / (PA_SQRT(top) + epsilon);
    }
}

static void plain(const update *u)
{
    adam(u, false);
}

static void amsgrad(const update *u)
{
    adam(u, true);
}

static void task(void *arg, ptrdiff_t chunk, int worker)
{
    const update *u = arg;
    (void)worker;
    optimizer_chunk(u, chunk, u->c->attr[3].num != 0 ? amsgrad : plain);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    optimizer_run(c, ctx, task);
}

static int slots(const pa_attr *attr)
{
    return 2 + (attr[3].num != 0);
}

/* alpha <= lr / (1 - beta_1) */
static void grow(const pa_attr *attr, const pa_ctx *ctx, double *most)
{
    const double alpha = ctx->lr / (1 - attr[0].num);
    most[2] = larger(most[2], most[1]);
    most[3] = larger(most[3], most[1] * most[1]);
    if (attr[3].num != 0)
        most[4] = larger(most[4], most[3]);
    most[0] +=
        ctx->lr * attr[4].num * most[0] + alpha * most[2] / optimizer_least(attr[2].num);
}

static const pa_attr_desc attrs[] = {
    {"beta_1", PA_ATTR_REAL, 0.9, 0, 1, "share of the mean gradient that is kept"},
    {"beta_2", PA_ATTR_REAL, 0.999, 0, 1,
     "share of the mean squared gradient that is kept"},
    {"epsilon", PA_ATTR_REAL, 1e-7, 0, 1e300, "keeps the quotient finite"},
    {"amsgrad", PA_ATTR_BOOL, 0, 0, 1, "divide by the largest mean square so far"},
    WEIGHT_DECAY,
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_opt_adam) = {
    .name = "opt_adam",
    .formula = "p -= lr m / (sqrt(v) + epsilon), m and v unbiased means of g and g^2",
    .kind = PA_KIND_OPTIMIZER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 4,
    .max_in = 5,
    .in_names = "param, grad, mean, square, top",
    .attrs = attrs,
    .shape = optimizer_shape,
    .forward = forward,
    .slots = slots,
    .grow = grow,
    .positive = 1 << 3 | 1 << 4,
};
