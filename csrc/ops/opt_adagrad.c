/* opt_adagrad - a = a + g^2,   p = p - r g / sqrt(a + eps)
 *
 * a starts at initial_accumulator_value.
 *
 * Source: Duchi, Hazan and Singer, Adaptive subgradient methods, JMLR 12, 2011, with eps
 * under the root as in Keras. */
#include "kern/optimizer.h"

enum { INITIAL = 1, EPSILON = 2 };

static int slots(const pa_attr *a)
{
    (void)a;
    return 1;
}

static double slot_init(const pa_attr *a, int slot)
{
    (void)slot;
    return a[INITIAL].num;
}

static void prepare(step *s, const pa_ctx *ctx)
{
    s->k[0] = (real)ctx->lr;
    s->k[1] = (real)s->attr[EPSILON].num;
}

static void update(const step *s, size_t lo, size_t hi)
{
    real *p = s->p, *a = s->slot[0];
    const real *g = s->g;
    real r = s->k[0], eps = s->k[1], keep = s->keep;
    PA_IVDEP
    for (size_t i = lo; i < hi; i++) {
        a[i] = a[i] + g[i] * g[i];
        p[i] = p[i] * keep - r * g[i] / PA_SQRT(a[i] + eps);
    }
}

static const pa_attr_desc attrs[] = {
    WEIGHT_DECAY_ATTR,
    {"initial_accumulator_value", PA_ATTR_REAL, 0.1, 0, HUGE_VAL, "start of a"},
    {"epsilon", PA_ATTR_REAL, 1e-7, 0, HUGE_VAL, "keeps the root away from 0"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_opt_adagrad) = {
    .name = "opt_adagrad",
    .formula = "a = a + g^2, p = p - r g / sqrt(a + eps)",
    .kind = PA_KIND_OPTIMIZER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 3,
    .max_in = 3,
    .in_names = "param, grad, accumulator",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .slots = slots,
    .slot_init = slot_init,
};
