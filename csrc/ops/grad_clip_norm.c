/* grad_clip_norm - g = g clip / max(|g|, clip) with |g| the Euclidean norm, in place
 *
 * Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
 * networks, ICML 2013. */
#include "kern/gradient.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    return gradient_shape(c, true, err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    scale_to(c, sum_of_squares(c, ctx), c->attr[0].num, ctx);
}

const pa_op PA_(pa_op_grad_clip_norm) = {
    .name = "grad_clip_norm",
    .formula = "g = g clip / max(norm of g, clip)",
    .kind = PA_KIND_GRADIENT,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 1,
    .max_in = 1,
    .in_names = "grad",
    .attrs = clip_attrs,
    .shape = shape,
    .forward = forward,
};
