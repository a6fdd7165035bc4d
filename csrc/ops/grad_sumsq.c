/* grad_sumsq - the sum of a gradient's squares, a float64 whatever the dtype
 *
 * Half of clipping by the global norm: sums of several gradients, of both dtypes, are
 * added and given to grad_scale_global. */
#include "kern/gradient.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = gradient_shape(c, err);
    return st ? st : pa_tensor_init(c->out[0], PA_F64, 0, NULL, err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    gradient s = {c->in[0]->data, c->in[0]->size, 0, c->scratch};
    *(double *)c->out[0]->data = gradient_sumsq(&s, ctx);
}

const pa_op PA_(pa_op_grad_sumsq) = {
    .name = "grad_sumsq",
    .formula = "sum(g^2)",
    .kind = PA_KIND_GRADIENT,
    .flags = PA_NO_GRAD,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "grad",
    .shape = shape,
    .forward = forward,
};
