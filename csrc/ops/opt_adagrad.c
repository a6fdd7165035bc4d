/* opt_adagrad - steps shrink with the sum of all squared gradients
 *
 *     a += g^2,   p -= lr g / sqrt(a + epsilon)
 * Slots: a, filled with initial_accumulator_value by its owner before the first step.
 * Reference: Duchi, Hazan, Singer, JMLR 2011. */
#include "kern/optimizer.h"

#include <math.h>

static void adagrad(const update *u)
{
    real *restrict p = u->p, *restrict a = u->slot[0];
    const real *restrict g = u->g;
    real lr = (real)u->ctx->lr, decay = (real)(u->ctx->lr * u->c->attr[2].num);
    real epsilon = (real)u->c->attr[1].num;
    for (size_t i = 0; i < u->n; i++) {
        a[i] += g[i] * g[i];
        p[i] = (p[i] - p[i] * decay) - lr * g[i] / PA_SQRT(a[i] + epsilon);
    }
}

static void task(void *arg, ptrdiff_t chunk, int worker)
{
    (void)worker;
    optimizer_chunk(arg, chunk, adagrad);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    optimizer_run(c, ctx, task);
}

static int slots(const pa_attr *attr)
{
    (void)attr;
    return 1;
}

static double slot_init(const pa_attr *attr, int slot)
{
    (void)slot;
    return attr[0].num;
}

static void grow(const pa_attr *attr, const pa_ctx *ctx, double *most)
{
    most[2] += most[1] * most[1];
    most[0] += ctx->lr * attr[2].num * most[0] +
               ctx->lr * most[1] / sqrt(optimizer_least(attr[1].num));
}

static const pa_attr_desc attrs[] = {
    {"initial_accumulator_value", PA_ATTR_REAL, 0.1, 0, 1e300,
     "what the sum starts from"},
    {"epsilon", PA_ATTR_REAL, 1e-7, 0, 1e300, "keeps the quotient finite"},
    WEIGHT_DECAY,
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_opt_adagrad) = {
    .name = "opt_adagrad",
    .formula = "a += g^2; p -= lr g / sqrt(a + epsilon)",
    .kind = PA_KIND_OPTIMIZER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 3,
    .max_in = 3,
    .in_names = "param, grad, accumulator",
    .attrs = attrs,
    .shape = optimizer_shape,
    .forward = forward,
    .slots = slots,
    .grow = grow,
    .positive = 1 << 2,
    .slot_init = slot_init,
};
