/* grad_sumsq - the sum of g^2 as one float64, a part of the global norm
 *
 * It changes nothing itself: the compiler of programs puts it between the operators that
 * change gradients. */
#include "kern/gradient.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status status = gradient_shape(c, true, err);
    return status ? status : pa_tensor_init(c->out[0], PA_F64, 0, NULL, err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    *(double *)c->out[0]->data = sum_of_squares(c, ctx);
}

const pa_op PA_(pa_op_grad_sumsq) = {
    .name = "grad_sumsq",
    .formula = "sum of g^2",
    .kind = PA_KIND_GRADIENT,
    .flags = PA_NO_GRAD,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "grad",
    .shape = shape,
    .forward = forward,
};
