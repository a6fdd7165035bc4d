/* opt_sgd - stochastic gradient descent with momentum m
 *
 *     m = 0:      p = p - r g
 *     else:       v = m v - r g,   p = p + v
 *     Nesterov:   v = m v - r g,   p = p + m v - r g
 *
 * Source: Sutskever, Martens, Dahl and Hinton, On the importance of initialization and
 * momentum in deep learning, ICML 2013, in Keras's form. */
#include "kern/optimizer.h"

enum { MOMENTUM = 1, NESTEROV = 2 };

static int slots(const pa_attr *a)
{
    return a[MOMENTUM].num != 0;
}

static void prepare(step *s, const pa_ctx *ctx)
{
    s->k[0] = (real)ctx->lr;
    s->k[1] = (real)s->attr[MOMENTUM].num;
}

static void update(const step *s, size_t lo, size_t hi)
{
    real *p = s->p, *v = s->slot[0];
    const real *g = s->g;
    real r = s->k[0], m = s->k[1], keep = s->keep;
    if (!v) {
        PA_IVDEP
        for (size_t i = lo; i < hi; i++)
            p[i] = p[i] * keep - r * g[i];
    } else if (s->attr[NESTEROV].num == 0) {
        PA_IVDEP
        for (size_t i = lo; i < hi; i++) {
            v[i] = m * v[i] - r * g[i];
            p[i] = p[i] * keep + v[i];
        }
    } else {
        PA_IVDEP
        for (size_t i = lo; i < hi; i++) {
            v[i] = m * v[i] - r * g[i];
            p[i] = p[i] * keep + (m * v[i] - r * g[i]);
        }
    }
}

static const pa_attr_desc attrs[] = {
    WEIGHT_DECAY_ATTR,
    {"momentum", PA_ATTR_REAL, 0, 0, 1, "share of the last step that goes on"},
    {"nesterov", PA_ATTR_BOOL, 0, 0, 1, "look ahead by the momentum"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_opt_sgd) = {
    .name = "opt_sgd",
    .formula = "p = p - r g; with momentum m: v = m v - r g, p = p + v",
    .kind = PA_KIND_OPTIMIZER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 2,
    .max_in = 3,
    .in_names = "param, grad, velocity",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .slots = slots,
};
